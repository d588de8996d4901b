"""Where passwords come from: the terminal without echo, a private file, systemd. Never a place that others see."""

import copy
import getpass
import pickle
import traceback
import unicodedata

import pytest

from node.errors import KeyFileError
from node.signer.passwords import LEAST_LENGTH, as_bytes, ask_hidden, once, source
from node.signer.secret import HiddenText

GOOD = "correct horse battery"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "password"


def keep(path, raw, mode=0o600):
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    path.chmod(mode)
    return source(f"file:{path}")


def typed(monkeypatch, *answers):
    """A terminal at which these are typed; gives what was asked."""
    asked, left = [], list(answers)

    def answer(question):
        asked.append(question)
        return left.pop(0)

    monkeypatch.setattr(getpass, "getpass", answer)
    return asked


# -- from a file


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_end_is_not_part_of_it(path, end):
    assert keep(path, GOOD + end).read() == GOOD


def test_spaces_are(path):
    assert keep(path, f" {GOOD} \n").read() == f" {GOOD} "


@pytest.mark.parametrize("text", ["", "\n", "\r\n"])
def test_an_empty_one_is_refused(path, text):
    with pytest.raises(KeyFileError, match="is empty"):
        keep(path, text).read()


@pytest.mark.parametrize("text", ["a long first line\nand a second", GOOD + "\n\n", "a\0b", "a\tb", "\x1b[31m"])
def test_what_could_not_be_typed_is_refused(path, text):
    with pytest.raises(KeyFileError, match="control character or a second line") as no:
        keep(path, text).read()
    assert text not in str(no.value)


def test_what_is_no_text(path):
    with pytest.raises(KeyFileError, match="no UTF-8 text") as no:
        keep(path, b"\xff\xfe secret").read()
    assert no.value.__context__ is None  # a UnicodeDecodeError holds all bytes


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_that_others_can_read_is_refused(path, mode):
    with pytest.raises(KeyFileError, match="chmod 600"):
        keep(path, GOOD, mode).read()


def test_larger_than_4_kilobytes_is_refused(path):
    assert len(keep(path, "x" * 4096).read()) == 4096
    with pytest.raises(KeyFileError, match="at most 4096"):
        keep(path, "x" * 4097).read()


def test_a_link_a_folder_and_nothing_are_refused(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    keep(path, GOOD)
    for name, said in (("link", "symbolic link"), (".", "no file"), ("none", "write the password of the key files")):
        with pytest.raises(KeyFileError, match=said):
            source(f"file:{tmp_path / name}").read()


def test_a_relative_path_is_relative_to_the_configuration(path):
    keep(path, GOOD)
    assert source("file:password", path.parent).read() == GOOD
    assert source(f"file:{path}", path.parent / "elsewhere").read() == GOOD


# -- from systemd


def test_a_credential(path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
    keep(path, GOOD, 0o440)  # as systemd gives it to a user by an access list
    assert source("credential:password").read() == GOOD
    path.chmod(0o444)
    with pytest.raises(KeyFileError, match="others could read it"):
        source("credential:password").read()


@pytest.mark.parametrize("folder", [None, ""])
def test_without_systemd_it_says_what_the_unit_needs(monkeypatch, folder):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if folder is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
    with pytest.raises(KeyFileError, match="LoadCredential=password:"):
        source("credential:password").read()


# -- from the terminal


def test_a_prompt_asks_once_and_a_new_one_twice(monkeypatch):
    asked = typed(monkeypatch, GOOD, GOOD, GOOD)
    assert source("prompt").read("a.key") == GOOD
    assert source("prompt").read_new("b.key") == GOOD
    assert asked == ["Password of a.key: ", "New password of b.key: ", "Once more: "]


def test_two_that_differ(monkeypatch):
    typed(monkeypatch, GOOD, GOOD + "y")
    with pytest.raises(KeyFileError, match="differ: nothing was written"):
        source("prompt").read_new("a.key")


def test_without_a_terminal_nothing_is_read_with_the_echo_on(monkeypatch):
    def no_terminal(question):
        import warnings

        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
        pytest.fail("it was read with the echo on")

    monkeypatch.setattr(getpass, "getpass", no_terminal)
    with pytest.raises(KeyFileError, match=r'no terminal to ask at.*"file:PATH".*"credential:NAME"'):
        source("prompt").read()


@pytest.mark.parametrize("error", [EOFError(), OSError(6, "No such device")])
def test_a_terminal_that_went_away(monkeypatch, error):
    def gone(question):
        raise error

    monkeypatch.setattr(getpass, "getpass", gone)
    with pytest.raises(KeyFileError, match="no terminal to ask at: use --from"):
        ask_hidden("WIF: ", "use --from")


# -- new ones


@pytest.mark.parametrize("way", ["file", "prompt"])
def test_a_new_one_is_long_enough_an_old_one_may_be_short(path, monkeypatch, way):
    short = "x" * (LEAST_LENGTH - 1)
    typed(monkeypatch, short, short, short + "x", short + "x")
    password = keep(path, short) if way == "file" else source("prompt")
    assert password.read() == short
    with pytest.raises(KeyFileError, match=f"at least {LEAST_LENGTH} characters"):
        password.read_new("a.key")


def test_length_is_counted_as_it_is_used(path):
    apart = unicodedata.normalize("NFD", "ä" * 6)
    assert len(apart) == 12
    with pytest.raises(KeyFileError, match="too short"):
        keep(path, apart).read_new("a.key")


def test_the_same_letters_from_any_keyboard_are_the_same_password():
    one, two = "Schlüssel für ﬁnge", unicodedata.normalize("NFD", "Schlüssel für finge")
    assert one != two
    assert as_bytes(one) == as_bytes(two) == "Schlüssel für finge".encode()


# -- how the configuration says it


@pytest.mark.parametrize(
    "text",
    ["", "hunter2hunter2", "Prompt", "prompt:", "file:", "file", "file:a\0b", "credential:", "credential:../x",
     "credential:a/b", "credential:.hidden", "env:PASSWORD", "pass:word"],
)  # fmt: skip
def test_anything_else_is_refused_and_never_quoted(text):
    with pytest.raises(KeyFileError, match='"prompt", "file:PATH" or "credential:NAME"') as no:
        source(text)
    assert text not in str(no.value).replace('"credential:NAME"', "").replace('"prompt", "file:PATH"', "") or not text


def test_once_asks_when_it_is_needed_and_remembers(monkeypatch):
    asked = typed(monkeypatch, GOOD)
    get = once(source("prompt"), "the keys")
    assert asked == []
    assert (get(), get()) == (GOOD, GOOD)
    assert asked == ["Password of the keys: "]


# -- it does not show


def test_it_does_not_show(path, monkeypatch):
    typed(monkeypatch, GOOD)
    for found in (keep(path, GOOD).read(), source("prompt").read(), HiddenText(GOOD)):
        assert GOOD not in f"{found!r} {[found]} {{found}}"
        for show in (str, print, "{}".format, "%s".__mod__, pickle.dumps, copy.copy):
            with pytest.raises(TypeError) as no:
                show(found)
            assert GOOD not in str(no.value)


def test_it_is_the_same_word_however_often_it_is_hidden():
    """Were it hidden by a word that stands for it, all passwords would be that word."""
    twice = HiddenText(HiddenText(GOOD))
    assert (twice, as_bytes(twice), twice.encode()) == (GOOD, GOOD.encode(), GOOD.encode())


def test_not_in_an_error_with_local_variables(path, monkeypatch):
    short = "short-word"
    typed(monkeypatch, GOOD, GOOD + "y")
    for words, call in (
        ((short,), lambda: keep(path, short).read_new("a.key")),
        (("two", "lines"), lambda: keep(path, "two\nlines").read()),
        ((GOOD,), lambda: source("prompt").read_new("a.key")),
    ):
        with pytest.raises(KeyFileError) as no:
            call()
        frames = traceback.TracebackException.from_exception(no.value, capture_locals=True).stack
        ours = [frame for frame in frames if "/node/signer/" in frame.filename and "/tests/" not in frame.filename]
        assert ours
        assert not any(word in str(frame.locals) for frame in ours for word in words)
