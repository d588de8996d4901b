"""A node put together from its parts: what it says of itself, and what is closed when a part is not to be had."""

from importlib.metadata import version
from pathlib import Path

import pytest

from node import assembly
from node.assembly import Holder, open_core
from node.devnet.founding import found, genesis_document, member_keys
from node.devnet.watching import PARAMETERS
from node.errors import JournalError
from node.files import DISK, Disk
from node.signer.policy import Policy
from processors.hive.keys import public_key_to_text
from state.errors import StateError
from state.store import LevelStore, MemoryStore

MEMBERS = [member_keys(number) for number in range(1, 4)]
GENESIS = found(genesis_document(MEMBERS, start_block=20, parameters=PARAMETERS))
HOLDER = Holder("runner01", MEMBERS[0].account_key, [MEMBERS[0].signing_key], Policy())


class Watched(MemoryStore):
    """A store that counts how often it was closed."""

    def __init__(self):
        super().__init__()
        self.closed = 0

    def close(self):
        self.closed += 1
        super().close()


class Failing(Disk):
    """A disk on which one thing cannot be done with one file."""

    def __init__(self, how, name, error):
        self.how, self.name, self.error = how, name, error

    def read(self, path):
        self._maybe("read", path)
        return super().read(path)

    def append(self, path, data):
        self._maybe("append", path)
        super().append(path, data)

    def _maybe(self, how, path):
        if (how, path.name) == (self.how, self.name):
            raise self.error


def opened(store, folder: Path, files=DISK, *, genesis=GENESIS, log=lambda event, fields: None):
    return open_core(genesis, HOLDER, store, folder, files, log)


def test_a_node_that_was_opened_has_its_store_open_until_it_is_closed(tmp_path):
    store = Watched()
    core = opened(store, tmp_path)
    assert store.closed == 0
    core.state.close()
    assert store.closed == 1


@pytest.mark.parametrize(
    ("how", "name", "raised"),
    [("read", "journal", JournalError), ("append", "journal", JournalError), ("read", "outbox.json", OSError)],
)
def test_the_store_is_closed_when_a_file_cannot_be_opened(tmp_path, how, name, raised):
    store = Watched()
    with pytest.raises(raised, match="Input/output error"):
        opened(store, tmp_path, Failing(how, name, OSError(5, "Input/output error")))
    assert store.closed == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), MemoryError()])
def test_whatever_it_is_that_fails(tmp_path, error):
    store = Watched()
    with pytest.raises(type(error)):
        opened(store, tmp_path, Failing("read", "outbox.json", error))
    assert store.closed == 1


def test_a_journal_that_is_damaged_closes_the_store_too(tmp_path):
    (tmp_path / "journal").write_text('["somebody changed this"]\n{}\n')
    store = Watched()
    with pytest.raises(JournalError):
        opened(store, tmp_path)
    assert store.closed == 1


def test_the_store_is_closed_when_the_state_cannot_be_opened(tmp_path, monkeypatch):
    def broken(*arguments, **how):
        raise StateError("written by a newer version")

    monkeypatch.setattr(assembly, "State", broken)
    store = Watched()
    with pytest.raises(StateError, match="newer version"):
        opened(store, tmp_path)
    assert store.closed == 1
    assert list(tmp_path.iterdir()) == [], "no journal of a node that has no state"


def test_what_was_locked_can_be_opened_again_after_a_failure(tmp_path):
    """A store on disk has one user: the next attempt finds it free."""
    for _ in range(2):
        store = LevelStore(tmp_path / "state", GENESIS.hash)
        with pytest.raises(JournalError):
            opened(store, tmp_path, Failing("append", "journal", OSError(28, "No space left on device")))
    core = opened(LevelStore(tmp_path / "state", GENESIS.hash), tmp_path)
    core.state.close()


def test_it_says_who_it_is_and_no_secret(tmp_path):
    told = []
    core = opened(Watched(), tmp_path, log=lambda event, fields: told.append((event, fields)))
    public = public_key_to_text(MEMBERS[0].signing_key.public, GENESIS.chain.address_prefix)
    assert told == [
        (
            "start",
            {
                "account": "runner01",
                "group": GENESIS.group,
                "genesis": GENESIS.hash.hex(),
                "height": -1,
                "keys": [public],
            },
        )
    ]
    assert core.me.account == "runner01"
    assert core.version == version("waggle")
    assert (tmp_path / "journal").exists()


@pytest.mark.parametrize(("min_signers", "told"), [(3, False), (4, True)])
def test_a_group_with_too_few_runners_to_rotate_says_so(tmp_path, min_signers, told):
    parameters = {**PARAMETERS, "min_signers": min_signers}
    genesis = found(genesis_document(MEMBERS, start_block=20, parameters=parameters))
    events = {}
    opened(MemoryStore(), tmp_path, genesis=genesis, log=lambda event, fields: events.update({event: fields}))
    assert events.get("founder_only") == ({"runners": 3, "min_signers": 4} if told else None)
