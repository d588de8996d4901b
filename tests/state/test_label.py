"""The label of a store's folder: another group's store, or a newer one, is refused before LevelDB has looked at it."""

import hashlib
from pathlib import Path

import pytest

from state.errors import StoreDamagedError, StoreMismatchError
from state.schema import BALANCE, HEAD, Balance, Head
from state.state import State
from state.store import FORMAT, LevelStore

OURS, THEIRS = b"\x01" * 32, b"\x02" * 32


def every_file(folder: Path) -> dict[str, str]:
    """Name -> sha256 of every file, LevelDB's diary too."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of our group with an entry in it."""
    folder = tmp_path / "state"
    state = State(LevelStore(folder, OURS), OURS, round_length=10)
    view = state.view()
    view.put(BALANCE, Balance(7), "alice")
    view.put(HEAD, Head(10, bytes(20), 0))
    state.commit(view)
    state.close()
    return folder


def test_our_own_store_opens_again(folder: Path) -> None:
    state = State(LevelStore(folder, OURS), OURS, round_length=10)
    assert state.need(BALANCE, "alice").liquid == 7
    state.close()


def test_another_genesis_changes_not_one_byte(folder: Path) -> None:
    before = every_file(folder)
    with pytest.raises(StoreMismatchError, match=f"{OURS.hex()}.*{THEIRS.hex()}.*name another"):
        LevelStore(folder, THEIRS)
    assert every_file(folder) == before


def test_a_newer_format_changes_not_one_byte(folder: Path) -> None:
    (folder / "WAGGLE").write_bytes(bytes([FORMAT + 1]) + OURS)
    before = every_file(folder)
    with pytest.raises(StoreMismatchError, match="install the newer version"):
        LevelStore(folder, OURS)
    assert every_file(folder) == before


@pytest.mark.parametrize("label", [b"", b"\x00" + OURS, b"\x01", bytes([FORMAT]) + OURS + b"x"])
def test_a_damaged_label_is_said(folder: Path, label: bytes) -> None:
    (folder / "WAGGLE").write_bytes(label)
    with pytest.raises(StoreDamagedError):
        LevelStore(folder, OURS)


def test_after_a_refusal_the_store_is_not_held(folder: Path) -> None:
    with pytest.raises(StoreMismatchError):
        LevelStore(folder, THEIRS)
    LevelStore(folder, OURS).close()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(StoreDamagedError):
        LevelStore(tmp_path / "state", OURS)
