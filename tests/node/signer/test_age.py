"""How old the journal is: what a look at the chain makes of it, line by line. The drills play it with whole groups."""

import contextlib
import json
import shutil

import pytest

from node.devnet.founding import devnet_key, member_keys
from node.errors import JournalError
from node.signer.age import look
from node.signer.journal import MARK, RESTORED, Journal
from state.schema import MS, SIG
from tests.node.test_core import any_state, new_group, run_to_founded, run_to_record

ME = member_keys(2).signing_key.public
NEW = devnet_key("nobody has seen it").public


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A group with a payout that is out and that every key but one has signed; its state."""
    group = new_group(tmp_path_factory.mktemp("group"))
    run_to_founded(group)
    group.refuses = lambda account, item: (
        item.content.startswith("broadcast") or (account == "runner03" and item.content.startswith("sign"))
    )
    op = run_to_record(group)
    group.run_until(lambda: sum(1 for _ in any_state(group).walk(SIG, op)) == 4, 30)
    return group.genesis, any_state(group), op


def a_journal(folder, genesis):
    return Journal(folder / "journal", genesis.hash)


def held(journal, state, key=ME):
    return max(0, journal.held_until(key) - state.head.timestamp)


def signed_by_me(journal, state, op):
    record = state.need(MS, op)
    journal.write(record.payloads, record.txid, record.expiration, op, time=state.head.timestamp)


def test_a_fresh_journal_holds_an_old_key_for_a_header_lifetime_and_no_new_one(tmp_path, shown):
    genesis, state, _ = shown
    journal = a_journal(tmp_path, genesis)
    third = member_keys(3).signing_key.public
    assert look(journal, [third, NEW], state, genesis) == []
    assert held(journal, state, third) == genesis.params.header_lifetime
    assert held(journal, state, NEW) == 0
    again = a_journal(tmp_path, genesis)
    assert not again.is_moved
    assert [held(again, state, key) for key in (third, NEW)] == [genesis.params.header_lifetime, 0]


def test_a_key_that_was_new_stays_new_when_the_chain_knows_it(tmp_path, shown):
    genesis, state, _ = shown
    journal = a_journal(tmp_path, genesis)
    look(journal, [NEW], state, genesis)
    journal._keys[ME.hex()] = True  # as it was seen before it was registered
    signed_by_me(journal, state, shown[2])
    look(journal, [ME, NEW], state, genesis)
    assert held(journal, state) == 0


def test_at_the_founding_nothing_is_held(tmp_path):
    group = new_group(tmp_path)
    group.run(25)
    journal = a_journal(tmp_path / "fresh", group.genesis)
    look(journal, [member_keys(1).signing_key.public], any_state(group), group.genesis)
    assert held(journal, any_state(group), member_keys(1).signing_key.public) == 0


def test_at_the_founding_what_was_imported_is(tmp_path):
    group = new_group(tmp_path)
    group.run(25)
    journal = a_journal(tmp_path / "fresh", group.genesis)
    journal.write((1,), bytes(20), 5, "1:2:3")
    look(journal, [ME], any_state(group), group.genesis)
    assert held(journal, any_state(group)) > 0


def test_what_the_chain_shows_and_the_journal_lacks_is_told_taken_in_and_counted(tmp_path, shown):
    genesis, state, op = shown
    journal = a_journal(tmp_path, genesis)
    assert look(journal, [ME], state, genesis) == [op]
    record = state.need(MS, op)
    assert journal.has(record.payloads, record.txid)
    assert journal.spent("HIVE", state.head.timestamp - 1, ()) == 1_234 * len(record.payloads)
    assert look(journal, [ME], state, genesis) == [], "once"
    assert held(a_journal(tmp_path, genesis), state) == genesis.params.header_lifetime


@pytest.mark.parametrize("when", range(1, 5))
def test_a_crash_anywhere_in_a_look_never_leaves_a_journal_that_looks_whole(tmp_path, shown, when):
    """Had it taken in the signature first, a crash would have made it forget that it is an old copy."""
    genesis, state, _ = shown
    journal = a_journal(tmp_path, genesis)
    look(journal, [NEW], state, genesis)  # it stands here, and nothing holds the new key
    journal._keys[ME.hex()] = True
    count = 0

    def crash(path, data, append=journal._files.append):
        nonlocal count
        count += 1
        if count >= when:
            raise OSError(5, "dead")
        append(path, data)

    journal._files = type(
        "Files",
        (),
        {
            "append": staticmethod(crash),
            "replace": staticmethod(lambda *a: None),
            "identity": staticmethod(lambda path: 1),
        },
    )()
    journal._files.remove = lambda path: None
    with contextlib.suppress(JournalError):
        look(journal, [ME], state, genesis)
    again = a_journal(tmp_path, genesis)
    look(again, [ME], state, genesis)
    assert held(again, state) == genesis.params.header_lifetime


# -- copies


def begun(folder, shown):
    """A journal that stands in its place, and knows everything."""
    genesis, state, op = shown
    journal = a_journal(folder, genesis)
    signed_by_me(journal, state, op)
    journal.begin(30, 1000, 0)
    journal.note_key(ME, is_new=False)
    return journal


@pytest.mark.parametrize("how", ["moved", "marked", "written over", "without its beginning"])
def test_a_copy_is_known_for_one(tmp_path, shown, how):
    genesis, state, _ = shown
    begun(tmp_path, shown)
    path = tmp_path / "journal"
    old = path.read_bytes()
    if how == "moved":  # another file in its place
        shutil.copy(path, tmp_path / "copy")
        (tmp_path / "copy").replace(path)
    elif how == "marked":
        path.with_name(RESTORED).touch()
    elif how == "written over":  # the same file, older contents: only the mark tells
        a_journal(tmp_path, genesis).write((999,), bytes(20), 5, "1:2:3")
        path.write_bytes(old)
    else:
        path.write_bytes(b"".join(line for line in old.splitlines(True) if b"born" not in line and b"key" not in line))
        path.with_name(MARK + "journal").unlink()
    journal = a_journal(tmp_path, genesis)
    assert look(journal, [ME], state, genesis) == []
    assert held(journal, state) == genesis.params.header_lifetime
    assert not path.with_name(RESTORED).exists()
    assert not a_journal(tmp_path, genesis).is_moved, "from now on it stands here"


def test_a_journal_that_goes_on_is_no_copy(tmp_path, shown):
    genesis, state, _ = shown
    begun(tmp_path, shown)
    for number in range(3):
        journal = a_journal(tmp_path, genesis)
        assert not journal.is_moved
        look(journal, [ME], state, genesis)
        assert held(journal, state) == 0
        journal.write((100 + number,), bytes(20), 5, "1:2:3")


def test_a_mark_that_cannot_be_read_makes_it_a_copy(tmp_path, shown):
    begun(tmp_path, shown)
    (tmp_path / f"{MARK}journal").write_bytes(b"\0\0")
    assert a_journal(tmp_path, shown[0]).is_moved


def test_a_torn_line_makes_it_no_copy(tmp_path, shown):
    begun(tmp_path, shown)
    with open(tmp_path / "journal", "ab") as file:
        file.write(b'["half a li')
    assert not a_journal(tmp_path, shown[0]).is_moved


def test_a_journal_of_the_first_release_is_believed(tmp_path, shown):
    genesis, state, op = shown
    record = state.need(MS, op)
    lines = [[genesis.hash.hex(), number, record.txid.hex(), record.expiration, op] for number in record.payloads]
    (tmp_path / "journal").write_text("".join(json.dumps(line) + "\n" for line in lines))
    journal = a_journal(tmp_path, genesis)
    assert look(journal, [ME], state, genesis) == []
    assert held(journal, state) == 0
    assert journal.born is not None


def test_what_was_imported_into_nothing_is_none_of_the_first_release(tmp_path, shown):
    genesis, state, _ = shown
    old = begun(tmp_path / "old", shown)
    journal = a_journal(tmp_path / "new", genesis)
    assert journal.merge(old.lines()) == 1
    for found in (journal, a_journal(tmp_path / "new", genesis)):
        assert not found.is_of_first_release
    look(journal, [ME], state, genesis)
    assert held(journal, state) == genesis.params.header_lifetime


def test_an_import_does_not_make_an_old_copy_whole(tmp_path, shown):
    """It grows past its mark by it: from then on only ``journal.restored`` tells."""
    genesis, state, _ = shown
    begun(tmp_path, shown)
    path = tmp_path / "journal"
    old = path.read_bytes()
    a_journal(tmp_path, genesis).write((999,), bytes(20), 5, "1:2:3")
    path.write_bytes(old)
    a_journal(tmp_path / "elsewhere", genesis).write((1000, 1001, 1002), bytes(20), 5, "1:2:3")
    a_journal(tmp_path, genesis).merge(a_journal(tmp_path / "elsewhere", genesis).lines())
    assert len(path.read_bytes()) > int((tmp_path / f"{MARK}journal").read_bytes().split()[0])
    again = a_journal(tmp_path, genesis)
    assert again.is_moved and path.with_name(RESTORED).exists()
    look(again, [ME], state, genesis)
    assert held(again, state) == genesis.params.header_lifetime


def test_a_whole_folder_that_is_copied_back_over_itself_is_known_for_an_old_one(tmp_path, shown):
    """`cp -a backup/. data/` keeps the files in their places: the mark of then names another file than that of now."""
    genesis, state, _ = shown
    data = tmp_path / "data"
    begun(data, shown)
    shutil.copytree(data, tmp_path / "backup")
    a_journal(data, genesis).write((999,), bytes(20), 5, "1:2:3")
    for file in (tmp_path / "backup").iterdir():
        (data / file.name).write_bytes(file.read_bytes())
    journal = a_journal(data, genesis)
    assert journal.is_moved
    look(journal, [ME], state, genesis)
    assert held(journal, state) == genesis.params.header_lifetime
    assert not a_journal(data, genesis).is_moved


@pytest.mark.parametrize("kept", [b"", b"12"])
def test_a_crash_while_the_mark_is_written_makes_it_no_copy(tmp_path, shown, kept):
    begun(tmp_path, shown)
    mark = tmp_path / f"{MARK}journal"
    mark.write_bytes(mark.read_bytes().split(b"\n")[0] + b"\n" + kept)
    assert not a_journal(tmp_path, shown[0]).is_moved
