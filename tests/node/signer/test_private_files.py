"""Files that only their owner reads: whole or not at all, never through a link, never over another."""

import os
import stat

import pytest

from node.errors import KeyFileError
from node.signer.private_files import read_private, replace_private, write_new


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.key"


def keep(path, mode=0o600, text="words"):
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
@pytest.mark.parametrize("write", [write_new, replace_private])
def test_written_with_mode_0600_whatever_the_umask(path, write, umask):
    before = os.umask(umask)
    try:
        write(path, b"words")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b"words"


def test_nothing_is_left_beside_it(path):
    write_new(path, b"1")
    replace_private(path, b"2")
    with pytest.raises(KeyFileError):
        write_new(path, b"3")
    assert [found.name for found in path.parent.iterdir()] == ["a.key"]
    assert path.read_bytes() == b"2"


def test_a_new_file_never_takes_the_place_of_anything(path, tmp_path):
    for make in (path.touch, path.mkdir, lambda: path.symlink_to(tmp_path / "nowhere"), lambda: os.mkfifo(path)):
        make()
        with pytest.raises(KeyFileError, match="never overwritten"):
            write_new(path, b"words")
        path.rmdir() if path.is_dir() else path.unlink()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("step", ["write", "fsync", "link", "fchmod"])
def test_a_disk_that_fails_leaves_no_part_of_a_new_file(path, monkeypatch, step):
    def fails(*words, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(KeyFileError, match="No space left"):
        write_new(path, b"words")
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file(path, monkeypatch, step):
    def fails(*words, **more):
        raise OSError(5, "Input/output error")

    write_new(path, b"old")
    monkeypatch.setattr(os, step, fails)
    with pytest.raises(KeyFileError, match="Input/output error"):
        replace_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1


def test_data_is_on_disk_before_its_name_and_the_name_before_it_returns(path, monkeypatch):
    steps = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *words, name=name, real=real, **more: (steps.append(name), real(*words, **more))
        )
    write_new(path, b"words")
    assert steps == ["fsync", "link", "fsync"]


def test_reads_what_the_owner_alone_can_read(path):
    assert read_private(keep(path), 5, "") == b"words"
    assert read_private(keep(path, 0o400), 5, "") == b"words"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o601, 0o666])
def test_refuses_what_others_can(path, mode):
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*chmod 600"):
        read_private(keep(path, mode), 100, "")


def test_unless_told_that_these_bits_are_well(path):
    assert read_private(keep(path, 0o440), 100, "", refused=0o007) == b"words"


def test_refuses_more_than_it_was_told_to_take(path):
    with pytest.raises(KeyFileError, match="has 5 bytes, at most 4"):
        read_private(keep(path), 4, "")


def test_refuses_links_folders_pipes_and_nothing(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(keep(path))
    with pytest.raises(KeyFileError, match="symbolic link"):
        read_private(link, 100, "write it")
    with pytest.raises(KeyFileError, match="is no file: write it"):
        read_private(tmp_path, 100, "write it")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="is no file: write it"):  # and does not wait for a writer
        read_private(tmp_path / "pipe", 100, "write it")
    with pytest.raises(KeyFileError, match="No such file or directory: write it"):
        read_private(tmp_path / "none", 100, "write it")


def test_its_bytes_do_not_show(path):
    assert "words" not in repr(read_private(keep(path), 100, "")) + str(read_private(path, 100, ""))
