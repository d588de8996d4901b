"""Shell completion: the script is the shell's own language, and what it asks for is answered."""

import os
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from node.cli.completion import completion


@click.group()
def waggle():
    """The root that the command hangs under."""


waggle.add_command(completion)


def script(shell):
    found = CliRunner().invoke(waggle, ["completion", shell])
    assert found.exit_code == 0
    return found.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_last_line_says_how_to_install_it(shell):
    *rest, last = script(shell).splitlines()
    assert last.startswith("# To install it: ") and f"waggle completion {shell}" in last
    assert "_WAGGLE_COMPLETE" in "\n".join(rest)
    assert "%(" not in "\n".join(rest)


def test_bash_reads_it():
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    found = subprocess.run([bash, "-n"], input=script("bash"), text=True, capture_output=True)
    assert (found.returncode, found.stderr) == (0, "")
    shown = subprocess.run(
        [bash, "-c", script("bash") + "\ncomplete -p waggle"], text=True, capture_output=True, check=True
    )
    assert "_waggle_completion" in shown.stdout


def test_what_the_script_asks_the_command_is_answered():
    asked = {**os.environ, "_WAGGLE_COMPLETE": "bash_complete", "COMP_WORDS": "waggle key", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['waggle']; from node.cli.main import main; main()"
    found = subprocess.run([sys.executable, "-c", code], env=asked, text=True, capture_output=True)
    assert found.stdout.strip() == "plain,keys"


def test_another_shell_is_refused():
    found = CliRunner().invoke(waggle, ["completion", "csh"])
    assert found.exit_code == 2 and "bash" in found.output
