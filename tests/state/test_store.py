"""Opening what must not be opened: the error says what is wrong and what to do, and the folder stays as it was.

LevelDB itself begins a new LOG (its diary; the old one becomes LOG.old) before it reads anything else, so these two
are left out of the comparison wherever LevelDB has looked at the folder. Everything else is compared by hash.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import plyvel
import pytest

from state.errors import StateError, StoreDamagedError, StoreLockedError, StoreMismatchError
from state.state import State
from state.store import FORMAT, LevelStore, MemoryStore, Store, identify
from tests.state import model as m

DIARY = {"LOG", "LOG.old"}
REMEDY = r"stop|name another|replay|install|move the folder"


def files(folder: Path) -> dict[str, str]:
    """Name -> sha256 of every file, LevelDB's diary left out."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name not in DIARY]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def opened(folder: Path, genesis_hash: bytes = m.GENESIS_HASH) -> State:
    """The state in a folder; nothing is held when this raises."""
    store = LevelStore(folder)
    try:
        return State(store, genesis_hash, round_length=m.ROUND)
    except StateError:
        store.close()
        raise


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a state in .ldb files and in the .log."""
    folder = tmp_path_factory.mktemp("prepared") / "state"
    listed = m.blocks(20, 30)
    for part in (listed[:20], listed[20:25], listed[25:]):
        state = opened(folder)
        for block in part:
            m.apply(state, block)
        state.close()
    assert list(folder.glob("*.ldb"))
    assert max(path.stat().st_size for path in folder.glob("*.log")) > 1_000
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of the prepared store."""
    return Path(shutil.copytree(prepared, tmp_path / "state"))


HOLDER = """
import sys
from pathlib import Path
from state.store import LevelStore
store = LevelStore(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
store.close()
"""


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the store."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def every_file(folder: Path) -> dict[str, str]:
    """As ``files``, with the diary."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_held_by_another_process(folder: Path, holder: subprocess.Popen[str]) -> None:
    before = every_file(folder)
    for create in (True, False):
        with pytest.raises(StoreLockedError, match=REMEDY) as caught:
            LevelStore(folder, create=create)
        assert str(folder) in str(caught.value)
    assert every_file(folder) == before, "not even the diary"
    holder.communicate("")
    state = opened(folder)
    assert state.height == 39
    state.close()


def test_a_killed_process_holds_nothing(folder: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    state = opened(folder)
    assert state.height == 39
    state.close()


def test_held_twice_by_one_process(folder: Path) -> None:
    store = LevelStore(folder)
    with pytest.raises(StoreLockedError, match=REMEDY):
        LevelStore(folder)
    store.close()
    LevelStore(folder).close()


def test_held_by_something_that_knows_leveldb_only(folder: Path) -> None:
    other = plyvel.DB(str(folder))
    with pytest.raises(StoreLockedError, match=REMEDY):
        LevelStore(folder)
    other.close()
    LevelStore(folder).close()


def test_a_path_with_the_word_lock_is_no_lock(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "blocks" / "state"
    shutil.copytree(folder, moved)
    _current(moved).unlink()
    _current(moved).mkdir()  # cannot be read: an error of input and output
    with pytest.raises(StoreDamagedError, match=REMEDY):
        LevelStore(moved)


def flip(path: Path, where: float, mask: int = 0x55) -> None:
    """Flip bits of one byte, at a fraction of the file."""
    raw = bytearray(path.read_bytes())
    raw[min(int(len(raw) * where), len(raw) - 1)] ^= mask
    path.write_bytes(raw)


def _current(folder: Path) -> Path:
    return folder / "CURRENT"


def _manifest(folder: Path) -> Path:
    return next(folder.glob("MANIFEST-*"))


def _log(folder: Path) -> Path:
    return max(folder.glob("*.log"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("where", [0.0, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("pick", [_current, _manifest, _log], ids=["CURRENT", "MANIFEST", "log"])
def test_a_flipped_byte_is_found_at_opening(folder: Path, pick: Callable[[Path], Path], where: float) -> None:
    flip(pick(folder), where)
    before = files(folder)
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=REMEDY) as caught:
            opened(folder)
        assert str(folder) in str(caught.value)
    assert files(folder) == before


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
@pytest.mark.parametrize("content", [b"", b"garbage\n", bytes(100)])
def test_a_file_of_garbage(folder: Path, name: str, content: bytes) -> None:
    next(folder.glob(f"{name}*")).write_bytes(content)
    before = files(folder)
    with pytest.raises(StoreDamagedError, match=REMEDY):
        opened(folder)
    assert files(folder) == before


@pytest.mark.parametrize("pattern", ["MANIFEST-*", "*.ldb"])
def test_a_missing_file(folder: Path, pattern: str) -> None:
    next(folder.glob(pattern)).unlink()
    before = files(folder)
    with pytest.raises(StoreDamagedError, match=REMEDY):
        opened(folder)
    assert files(folder) == before


def test_a_missing_current_where_none_may_be_made(folder: Path, tmp_path: Path) -> None:
    _current(folder).unlink()
    before = files(folder)
    with pytest.raises(StoreDamagedError, match=REMEDY):
        LevelStore(folder, create=False)
    with pytest.raises(StoreDamagedError, match=REMEDY):
        LevelStore(tmp_path / "nowhere", create=False)
    assert files(folder) == before
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_current_is_no_new_store(folder: Path) -> None:
    _current(folder).unlink()
    before = files(folder)
    with pytest.raises(StoreDamagedError, match=REMEDY):
        LevelStore(folder).close()
    assert files(folder) == before


@pytest.mark.parametrize("where", [0.0, 0.3, 0.7, 1.0])
def test_a_flipped_byte_in_a_table_is_never_read_as_something_else(folder: Path, where: float) -> None:
    """LevelDB reads tables when they are needed: opening may succeed and begin new files, no wrong value comes out."""
    expected = _entries(folder)
    table = max(folder.glob("*.ldb"), key=lambda path: path.stat().st_size)
    flip(table, where)
    held = table.read_bytes()
    try:
        found = _entries(folder)
    except StoreDamagedError as error:
        assert str(folder) in str(error)
        assert "replay" in str(error)
    else:
        assert found == expected
    if table.exists():
        assert table.read_bytes() == held


def _entries(folder: Path) -> dict[bytes, bytes]:
    store = LevelStore(folder)
    try:
        return m.stored(store)
    finally:
        store.close()


def test_a_flipped_byte_in_the_data_of_a_table_is_an_error(folder: Path) -> None:
    for table in folder.glob("*.ldb"):
        flip(table, 0.1)
    with pytest.raises(StoreDamagedError, match=REMEDY):
        opened(folder)


def test_a_torn_end_of_the_log_is_the_block_before(folder: Path) -> None:
    """What a crash leaves behind is no damage: the last write is whole or not there."""
    log = _log(folder)
    log.write_bytes(log.read_bytes()[:-20])
    state, model = opened(folder), m.Model()
    for block in m.blocks(20, 29):
        model.apply(block)
    m.check(state, model, 38)
    state.close()


def with_identity(folder: Path, identity: bytes) -> dict[bytes, bytes]:
    """Write another identity; returns all entries."""
    store = LevelStore(folder)
    store.write([(b"!identity", identity)], sync=True)
    store.close()
    return _entries(folder)


CASES = {
    "another genesis": (bytes([FORMAT]) + bytes(32), m.GENESIS_HASH, r"genesis.*name another"),
    "newer format": (bytes([FORMAT + 1]) + m.GENESIS_HASH, m.GENESIS_HASH, r"format.*install the newer"),
    "newer format and another genesis": (b"\xff" + bytes(32), m.GENESIS_HASH, r"format.*install the newer"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_store_of_something_else(folder: Path, case: str) -> None:
    """LevelDB begins new files at every opening; here no entry may differ, and in memory no byte."""
    identity, genesis_hash, message = CASES[case]
    before = with_identity(folder, identity)
    with pytest.raises(StoreMismatchError, match=message):
        opened(folder, genesis_hash)
    assert _entries(folder) == before
    memory: Store = MemoryStore()
    memory.write(list(before.items()), sync=True)
    with pytest.raises(StoreMismatchError, match=message):
        identify(memory, genesis_hash)
    assert m.stored(memory) == before


def test_another_genesis_says_both_hashes(folder: Path) -> None:
    with pytest.raises(StoreMismatchError) as caught:
        opened(folder, bytes(32))
    assert m.GENESIS_HASH.hex() in str(caught.value)
    assert bytes(32).hex() in str(caught.value)


def test_a_leveldb_of_somebody_else(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "other")
    store.write([(b"theirs", b"1")], sync=True)
    store.close()
    with pytest.raises(StoreMismatchError, match=REMEDY):
        opened(tmp_path / "other")
    assert _entries(tmp_path / "other") == {b"theirs": b"1"}


@pytest.mark.parametrize("kind", ["memory", "level"])
def test_both_stores_behave_alike(kind: str, tmp_path: Path) -> None:
    store: Store = MemoryStore() if kind == "memory" else LevelStore(tmp_path / "state")
    assert identify(store, m.GENESIS_HASH)
    assert not identify(store, m.GENESIS_HASH)
    keys = [b"", b"a", b"a\0", b"a\xff", b"ab", b"b", b"a\xff\xff" + b"\xff" * 40, b"\xff"]
    store.write([(key, b"v" + key) for key in keys] + [(b"gone", b"x"), (b"gone", None), (b"never", None)], sync=True)
    assert [key for key, _ in store.iterate(b"a")] == sorted(key for key in keys if key.startswith(b"a"))
    assert [key for key, _ in store.iterate(b"\xff")] == [b"\xff"]
    assert [key for key, _ in store.iterate(b"")] == sorted([*keys, b"!identity"])
    assert (store.get(b"gone"), store.get(b"never"), store.get(b"ab")) == (None, None, b"vab")
    store.close()
