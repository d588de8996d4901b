"""docs/operating.md can be followed: its commands, options, anchors, files and configuration keys are there."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from node import attention
from node.cli.main import cli
from node.metrics import _REASONS, ALARMS
from node.options import OPTIONS
from node.signer.service_config import _SECTIONS

ROOT = Path(__file__).parent.parent
MANUAL = (ROOT / "docs" / "operating.md").read_text()
LINES = MANUAL.splitlines()
#: What stands in the manual for something of the reader's.
PLACEHOLDERS = {"HEIGHT": "101000000", "HEIGHT:ROOT": f"101000000:{'0' * 64}", "ID": "61500:61450:3735928559"}
_RUNS = ("/opt/waggle/bin/waggle", "waggle")
#: Names before a dot that are files and hosts, not sections.
_SUFFIXES = ("toml", "key", "crt", "json", "sh", "conf", "yml", "md")


# -- reading the manual


def blocks(kind: str) -> Iterator[str]:
    """The code blocks of a kind."""
    yield from re.findall(rf"^```{kind}\n(.*?)^```", MANUAL, re.DOTALL | re.MULTILINE)


def in_line() -> list[str]:
    """What stands in backquotes in a sentence."""
    text = re.sub(r"^```.*?^```", "", MANUAL, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`]+)`", text)


def command_of(line: str) -> list[str] | None:
    """The arguments of waggle in a line of the shell; None if the line runs something else."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["sudo"]:
        words = words[1:]
    if words[:2] == ["podman", "compose"] and "node" in words and words[2] in ("run", "exec"):
        return words[words.index("node") + 1 :]
    found = next((index for index, word in enumerate(words) if word in _RUNS), None)
    is_run = found is not None and (found == 0 or words[found - 1] == "--")
    return [PLACEHOLDERS.get(word, word) for word in words[found + 1 :]] if is_run and found is not None else None


def commands() -> list[list[str]]:
    """All commands of waggle in the blocks."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [found for found in map(command_of, lines) if found]


def parse(words: list[str]) -> None:
    """Let click read a whole command, without running it. Raises click.ClickException."""
    command: click.Command = cli
    context = click.Context(cli, info_name="waggle")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"waggle has no command {name}"
        command, context = found, click.Context(found, parent=context, info_name=name)
    try:
        command.make_context(words[0], rest, parent=context.parent)
    except click.exceptions.Exit as leaving:  # --version, --help
        assert leaving.exit_code == 0


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lstrip("# ").lower()).strip().replace(" ", "-")


ANCHORS = [anchor(line) for line in LINES if line.startswith("#")]


# -- commands


@pytest.mark.parametrize("words", commands(), ids=lambda words: "-".join(words[:3]))
def test_a_command_can_be_typed_as_it_stands(words):
    parse(words)


@pytest.mark.parametrize(
    "words",
    [["no-such-command"], ["status"], ["status", "--config", "x", "--no-such-option"], ["approve", "1", "2", "3"]],
)
def test_what_is_no_command_would_be_found(words):
    with pytest.raises(click.ClickException):
        parse(words)


@pytest.mark.parametrize("span", sorted({s for s in in_line() if re.match(r"(sudo )?waggle [a-z]", s)}))
def test_a_command_in_a_sentence_is_there_with_its_options(span):
    words = [word for word in span.replace("sudo ", "").split()[1:] if word != "..."]
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        found = _members(command).get(words.pop(0))
        assert found is not None, f"waggle has no {span}"
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_options_named_alone_are_options_of_some_command():
    known = {option for command in _all(cli) for parameter in command.params for option in parameter.opts}
    known |= {"--help", "--version"}
    named = {span.split()[0] for span in in_line() if span.startswith("--")}
    assert named <= known


def test_every_command_of_an_operator_is_in_the_manual():
    ours = {"devnet", "sim", "genesis"}  # a developer's and a founder's
    for name, command in _members(cli).items():
        if name not in ours:
            assert re.search(rf"waggle {name}\b", MANUAL), f"the manual says nothing of waggle {name}: {command.help}"


def _all(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for one in _members(command).values():
            yield from _all(one)


def _members(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group, which may be loaded only when they are asked for."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


# -- configuration


@pytest.mark.parametrize("block", list(blocks("toml")), ids=lambda block: block.splitlines()[0])
def test_a_piece_of_configuration_has_keys_that_there_are(block):
    found = tomllib.loads(block)
    sections = _SECTIONS if "listen" in found.get("signer", {}) else OPTIONS
    for section, values in found.items():
        for key, value in values.items():
            option = sections[section][key]
            assert isinstance(value, option.kinds) and not option.reason(value), f"{section}.{key}"


def test_keys_that_are_named_in_sentences_are_there():
    named = 0
    for span in in_line():
        found = re.match(r"([a-z]+)\.([a-z_]+)\b", span)
        if found is None or span.rpartition(".")[2] in _SUFFIXES:
            continue
        section, key = found.groups()
        if section in OPTIONS or section in _SECTIONS:
            assert key in OPTIONS.get(section, {}) or key in _SECTIONS.get(section, {}), span
            named += 1
    assert named > 15


# -- sections


def test_every_link_leads_to_a_section():
    for target in re.findall(r"\]\(#([^)]+)\)", MANUAL):
        assert target in ANCHORS, target
    assert len(ANCHORS) == len(set(ANCHORS))


def test_every_alarm_has_a_section():
    source = Path(attention.__file__).read_text()
    named = set(re.findall(r'Attention\(\s*"([a-z-]+)"', source)) | {"node-down"}
    assert len(named) > 12
    named |= set(re.findall(r"operating\.md#([a-z-]+)", (ROOT / "deploy" / "alerts.yml").read_text()))
    assert named <= set(ANCHORS)


def test_every_section_of_an_alarm_belongs_to_one():
    alarms = ANCHORS[ANCHORS.index("the-alarms") + 1 :]
    named = set(re.findall(r"operating\.md#([a-z-]+)", (ROOT / "deploy" / "alerts.yml").read_text()))
    named |= set(re.findall(r'Attention\(\s*"([a-z-]+)"', Path(attention.__file__).read_text()))
    assert set(alarms) <= named


def test_reasons_and_alarms_are_explained():
    for _, why in _REASONS:
        assert re.search(rf"\| [a-z_, ]*\b{why}\b|`{why}`", MANUAL), why
    for what in ALARMS:
        assert f"| {what} |" in MANUAL


# -- files


def test_files_that_are_named_are_there():
    named = set(re.findall(r"\b(?:deploy|docs)/[a-zA-Z0-9_./-]*[a-zA-Z]", MANUAL))
    assert len(named) > 10
    for name in named:
        assert (ROOT / name).exists(), name
