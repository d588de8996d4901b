"""Which file it is: the same one however often it is written, another one after it was copied back."""

import os
import shutil

import pytest

from node.birth import _born, identity


def test_the_same_file_however_often_it_is_written_and_renamed(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"a")
    found = identity(path)
    with open(path, "ab") as file:
        file.write(b"more")
    path.chmod(0o400)
    os.utime(path, (1, 1))
    assert identity(path) == found < 1 << 56
    path.rename(tmp_path / "moved")
    assert identity(tmp_path / "moved") == found


def test_a_copy_that_gets_the_inode_of_the_file_it_replaces_is_another_file(tmp_path):
    path = tmp_path / "journal"
    seen = set()
    for _ in range(5):
        path.write_bytes(b"a")
        if _born(path) == (0, 0):
            pytest.skip("this file system tells no birth")
        seen.add(identity(path))
        shutil.copy2(path, tmp_path / "backup")
        path.unlink()
        shutil.copy2(tmp_path / "backup", path)
        seen.add(identity(path))
        path.unlink()
    assert len(seen) == 10


def test_a_file_that_is_not_there_has_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        identity(tmp_path / "nothing")
