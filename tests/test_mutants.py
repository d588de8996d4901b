"""The list of mutants: each can be applied, and every section of the protocol has its own.

Running them takes long and is the work of tools/mutants.py.
"""

import re
from pathlib import Path

import pytest

from tools.mutants import Mutant, load

ROOT = Path(__file__).parent.parent
MUTANTS = load()
#: Sections with rules that the code has; 10 waits for its issue.
SECTIONS = {"2", "3", "4", "5", "6", "7", "8", "9", "11", "12"}


def test_there_are_enough_and_each_has_its_own_name() -> None:
    ids = [mutant.id for mutant in MUTANTS]
    assert len(ids) >= 40
    assert len(set(ids)) == len(ids), sorted(name for name in set(ids) if ids.count(name) > 1)
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_every_section_has_a_mutant() -> None:
    numbers = set(re.findall(r"^## (\d+)\.", (ROOT / "docs" / "protocol.md").read_text(), re.MULTILINE))
    sections = {mutant.section.partition(".")[0] for mutant in MUTANTS}
    assert sections <= numbers, f"docs/protocol.md has no section {sorted(sections - numbers)}"
    assert sections >= SECTIONS, f"no mutant for section {sorted(SECTIONS - sections)}"


def test_no_two_are_the_same() -> None:
    edits = [(mutant.file, mutant.find, mutant.replace) for mutant in MUTANTS]
    assert len(set(edits)) == len(edits)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.id for mutant in MUTANTS])
def test_it_can_be_applied(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.find) == 1, f"find must stand once in {mutant.file}, not {text.count(mutant.find)} times"
    compile(mutant.mutated(ROOT), mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.id for mutant in MUTANTS])
def test_it_says_what_it_breaks_and_who_should_notice(mutant: Mutant) -> None:
    assert re.fullmatch(r"[^\n]+\.", mutant.what)
    assert mutant.hint
    assert [hint for hint in mutant.hint if not (ROOT / hint).exists()] == []
