"""Secret keys: in a file that only its owner reads, and nowhere else."""

import copy
import json
import logging
import os
import pickle
import stat
import traceback

import msgspec
import pytest

from node.errors import KeyFileError
from node.log import make_log
from node.signer.keys import SecretKey, load_keys, new_key, write_key
from processors.hive.crypto import recover
from processors.hive.keys import private_key_to_wif

SECRET = bytes(range(1, 33))
WIF = private_key_to_wif(SECRET)
#: Every form in which it could slip out.
FORMS = (WIF, SECRET.hex(), repr(SECRET), str(int.from_bytes(SECRET, "big")), repr(SECRET)[2:20])


def shows_nothing(text):
    return not any(form in text for form in FORMS)


def all_of(error):
    """Everything that a screen, a log or a report of the error could show."""
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += repr(error) + repr(error.args)
        error = error.__cause__ or error.__context__
    return shown


@pytest.fixture
def key():
    return SecretKey(SECRET)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "signing.wif"


def keep(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


# -- the file


def test_written_with_mode_0600_whatever_the_umask(path, key):
    before = os.umask(0)
    try:
        write_key(path, key)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == WIF + "\n"
    assert [found.public for found in load_keys(path)] == [key.public]


@pytest.mark.parametrize("there", ["a key", ""])
def test_never_overwritten(path, key, there):
    keep(path, there)
    with pytest.raises(KeyFileError, match="a key is never overwritten"):
        write_key(path, key)
    assert path.read_text() == there


def test_not_through_a_link_to_nowhere_either(path, key, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError):
        write_key(path, key)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777])
def test_refused_if_others_could_get_at_it(path, mode):
    keep(path, WIF, mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*chmod 600") as no:
        load_keys(path)
    assert shows_nothing(all_of(no.value))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_taken_if_only_the_owner_can(path, mode):
    assert len(load_keys(keep(path, WIF, mode))) == 1


def test_a_symbolic_link_is_refused(path, tmp_path):
    keep(path, WIF)
    link = tmp_path / "link.wif"
    link.symlink_to(path)
    with pytest.raises(KeyFileError, match=r"link\.wif"):
        load_keys(link)


def test_a_missing_file_says_what_to_do(path):
    with pytest.raises(KeyFileError, match="write the WIF into that file, mode 0600"):
        load_keys(path)


def test_several_keys_comments_and_blank_lines(path):
    other = new_key()
    write_key(path, other)
    keep(path, f"# the old one\n\n  {WIF}  \r\n{path.read_text()}\n# end\n")
    assert [found.public for found in load_keys(path)] == [SecretKey(SECRET).public, other.public]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_a_file_without_a_key(path, text):
    with pytest.raises(KeyFileError, match="holds no key"):
        load_keys(keep(path, text))


@pytest.mark.parametrize(
    "line",
    [
        WIF[:-1],
        WIF + "1",
        WIF + " " + WIF,
        WIF[:-1] + ("a" if WIF[-1] != "a" else "b"),
        SECRET.hex(),
        "P" + WIF,
        "x" * 100_000,
        "\xe9" + WIF,
    ],
)
def test_a_line_that_is_no_key_is_named_and_never_quoted(path, line):
    keep(path, f"# first\n{line}\n")
    with pytest.raises(KeyFileError, match="line 2") as no:
        load_keys(path)
    shown = all_of(no.value)
    assert shows_nothing(shown)
    assert line[:12] not in shown


# -- in memory


def test_what_is_printed_is_the_public_half(key):
    for shown in (repr(key), str(key), f"{key}", f"{key!r:>200}", repr([key]), repr({"key": key}), f"{(key,)}"):
        assert shows_nothing(shown)
        assert key.public.hex() in shown


def test_not_in_the_dump_of_a_struct_that_holds_it(key):
    class Holder(msgspec.Struct):
        key: SecretKey

    assert shows_nothing(repr(Holder(key)))
    for encode in (msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins):
        with pytest.raises(TypeError) as no:
            encode(Holder(key))
        assert shows_nothing(all_of(no.value))


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy, lambda key: pickle.dumps(key, protocol=2)])
def test_it_is_not_copied_out_of_its_process(key, copied):
    with pytest.raises(TypeError, match="not copied") as no:
        copied(key)
    assert shows_nothing(all_of(no.value))


def test_json_does_not_know_it(key):
    with pytest.raises(TypeError) as no:
        json.dumps({"key": key})
    assert shows_nothing(all_of(no.value))


def test_not_in_a_traceback(key):
    def deep(key):
        raise ValueError(f"cannot sign with {key}")

    with pytest.raises(ValueError, match="public=") as no:
        deep(key)
    assert shows_nothing(all_of(no.value))
    told = traceback.TracebackException.from_exception(no.value, capture_locals=True)
    assert shows_nothing("".join(told.format()))


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33), "text", None])
def test_not_in_the_error_of_a_wrong_call(key, digest):
    with pytest.raises((ValueError, TypeError)) as no:
        key.sign(digest)
    assert shows_nothing(all_of(no.value))


@pytest.mark.parametrize("form", ["console", "json"])
def test_not_in_our_log(key, form, capsys):
    make_log(form, "debug")("start", {"keys": [key], "key": key})
    shown = capsys.readouterr().err
    assert "start" in shown
    assert shows_nothing(shown)


def test_not_in_pythons_log(key, caplog):
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("somebody").warning("key %s %r", key, [key])
    assert shows_nothing(caplog.text)


def test_no_attribute_dictionary_to_dump(key):
    with pytest.raises(TypeError):
        vars(key)


def test_it_signs_and_its_public_half_is_recovered(key):
    assert recover(key.sign(bytes(32)), bytes(32)) == key.public


def test_new_keys_differ():
    assert len({new_key().public for _ in range(20)}) == 20
