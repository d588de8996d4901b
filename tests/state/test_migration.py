"""A store of the release before (format 1, without undo records) opens, becomes one of format 2, and goes on.

tests/state/data/format1.tar.xz was written by that release: the blocks ``model.blocks(1000, 14, each=2)``, the root
asked for in the middle of the last round, three processes.
"""

import io
import tarfile
from pathlib import Path

import pytest

from state.errors import StateError, StoreMismatchError
from state.layout import IDENTITY
from state.schema import BALANCE, HEAD, Balance, Head
from state.state import State
from state.store import FORMAT, LevelStore, MemoryStore
from tests.reference.roots import state_root
from tests.state import model as m
from tests.state.model import state_over

ARCHIVE = Path(__file__).parent / "data/format1.tar.xz"
HEIGHT = 23
ROOT_20 = bytes.fromhex("aa2b5a48b3ce400fe903283916b9343bb1582c12e79dc4e27fdf2b7ba81dc442")
TRACE_23 = bytes.fromhex("036e3c014798b6b1cf1ac771c552e02e7192239eee8c9ce1017f9e570adc39fc")
ROOT_23 = bytes.fromhex("c64522d0bd290093ea148a61ae6bf2aa131963b02642043cf303b72b1e1d1446")
OLD, NEW = bytes([1]) + m.GENESIS_HASH, bytes([FORMAT]) + m.GENESIS_HASH


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store as the release before left it."""
    with tarfile.open(fileobj=io.BytesIO(ARCHIVE.read_bytes())) as archive:
        archive.extractall(tmp_path, filter="data")
    assert (tmp_path / "state/WAGGLE").read_bytes() == OLD
    return tmp_path / "state"


def opened(folder: Path) -> State:
    """The state in it."""
    return state_over(LevelStore(folder, m.GENESIS_HASH))


def identity(folder: Path) -> bytes | None:
    """The mark inside the store."""
    store = LevelStore(folder)
    found = store.get(IDENTITY)
    store.close()
    return found


def check(state: State) -> None:
    """Everything is there."""
    assert (state.is_new, state.height) == (False, HEIGHT)
    assert (state.root(20), state.trace(23), state.current_root()) == (ROOT_20, TRACE_23, ROOT_23)
    assert state_root(m.GENESIS_HASH, m.content(state)) == ROOT_23, "the tables"


def test_it_opens_and_is_marked(folder: Path) -> None:
    assert identity(folder) == OLD
    state = opened(folder)
    check(state)
    state.close()
    assert identity(folder) == (folder / "WAGGLE").read_bytes() == NEW
    state = opened(folder)
    check(state)
    state.close()


def test_it_goes_on_and_back_as_far_as_there_are_records(folder: Path) -> None:
    state = opened(folder)
    assert (state.oldest_rewind, state.changes(HEIGHT), state.round_height) == (HEIGHT, None, None)
    with pytest.raises(StateError, match="to 23 at the oldest"):
        state.rewind(22)
    model = m.Model(m.content(state), {20: ROOT_20}, {23: TRACE_23})
    listed = m.blocks(44, 20, first=24)
    for block in listed[:4]:
        m.apply(state, block)
        model.apply(block)
        m.check(state, model, block.head.height)
    state.rewind(HEIGHT)
    check(state)
    state.close()
    state = opened(folder)
    model = m.Model(m.content(state), {20: ROOT_20}, {23: TRACE_23})
    for block in listed:
        m.apply(state, block)
        model.apply(block)
        m.check(state, model, block.head.height)
    assert (state.oldest_rewind, state.round_height) == (HEIGHT, 40)
    state.rewind(HEIGHT)
    check(state)
    state.close()


@pytest.mark.parametrize("where", ["label half-written", "label new", "identity new", "no label"])
def test_a_crash_in_the_middle_does_no_harm(folder: Path, where: str) -> None:
    if where == "label half-written":
        (folder / "WAGGLE.new").write_bytes(NEW[:7])
    elif where == "label new":
        (folder / "WAGGLE").write_bytes(NEW)
    elif where == "no label":
        (folder / "WAGGLE").unlink()
    else:
        store = LevelStore(folder)
        store.write([(IDENTITY, NEW)], sync=True)
        store.close()
    state = opened(folder)
    check(state)
    state.close()
    assert identity(folder) == (folder / "WAGGLE").read_bytes() == NEW
    assert not (folder / "WAGGLE.new").exists()


@pytest.mark.parametrize("genesis_hash", [bytes(32), bytes(31) + b"\1"])
def test_another_group_s_old_store_is_refused_as_it_is(folder: Path, genesis_hash: bytes) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(StoreMismatchError, match="genesis"):
        LevelStore(folder, genesis_hash)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert identity(folder) == OLD


def test_in_memory_too() -> None:
    store = MemoryStore()
    state = state_over(store)
    view = state.view()
    view.put(HEAD, Head(10, bytes(20), 0))
    view.put(BALANCE, Balance(1), "alice")
    state.commit(view)
    entries = [(key, value) for key, value in store.iterate(b"") if key[:1] != b"u" and key[:6] != b"!trees"]
    old = MemoryStore()
    old.write([*entries, (IDENTITY, OLD)], sync=True)
    again = state_over(old)
    assert (old.get(IDENTITY), again.current_root()) == (NEW, state.current_root())
    assert again.oldest_rewind == 10
