"""Passwords of key files: from the terminal, from a file, or from systemd. Never from argv or the environment.

Both would show them: to every user in the list of processes, and to every child.

A password is normalised (Unicode NFKC, as NIST SP 800-63B has it) before it is used: keyboards and systems write an
umlaut as one character or as two, and a password set on one machine must open the key on another.
"""

import getpass
import os
import re
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.errors import KeyFileError
from node.signer.private_files import OTHERS, read_private
from node.signer.secret import HiddenText

#: Characters of a new password. A guess costs a third of a second and 128 MiB: who rents a thousand such machines makes
#: 10^11 guesses a year. Twelve random letters are 10^17; eight would be 10^11.
LEAST_LENGTH = 12
_MOST_BYTES = 4096
_WAYS = '"prompt", "file:PATH" or "credential:NAME"'


class Password(msgspec.Struct, frozen=True):
    """Where a password comes from: ``way`` is prompt, file or credential. Raises KeyFileError when it cannot be had."""

    way: str
    place: str = ""

    def read(self, what: str = "the key files") -> HiddenText:
        """The password; ``what`` names what it opens, at the prompt."""
        if self.way == "prompt":
            return _checked(_ask(f"Password of {what}: "), "the password")
        if self.way == "file":
            path, refused = Path(self.place), OTHERS
        else:
            # systemd gives the service's user its right by an access list, which shows as the group's bits.
            path, refused = _credential(self.place), 0o007
        remedy = f"write the password of {what} into that file, mode 0600"
        raw = read_private(path, _MOST_BYTES, remedy, refused=refused)
        return _checked(_decoded(raw), str(path))

    def read_new(self, what: str) -> HiddenText:
        """A password that something new is to have: long enough, and at the prompt typed twice."""
        if self.way == "prompt":
            found = _checked(_ask(f"New password of {what}: "), "the password")
            _long_enough(found)
            if _checked(_ask("Once more: "), "the password") != found:
                raise KeyFileError("the two passwords differ: nothing was written. Try again")
            return found
        found = self.read(what)
        _long_enough(found)
        return found


def source(text: str, base: Path = Path()) -> Password:
    """Where the password comes from, as the configuration says it; a relative path is relative to ``base``.

    Raises KeyFileError for anything else, without quoting it: it might be the password itself.
    """
    way, colon, place = text.partition(":")
    if text == "prompt":
        return Password("prompt")
    if way == "file" and place and "\0" not in place:
        return Password("file", str(base / place))
    if way == "credential" and colon and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}", place):
        return Password("credential", place)
    raise KeyFileError(f"a password comes from {_WAYS}; the password itself is never written there")


def once(password: Password, what: str = "the key files") -> Callable[[], HiddenText]:
    """A function that gets the password when it is first called, and then remembers it."""
    found: list[HiddenText] = []

    def get() -> HiddenText:
        if not found:
            found.append(password.read(what))
        return found[0]

    return get


def as_bytes(password: str) -> bytes:
    """The bytes of a password, in the one form in which it is used."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def ask_hidden(question: str, remedy: str) -> HiddenText:
    """What a person types at the terminal, unseen. Raises KeyFileError, with the remedy, where there is none."""
    with warnings.catch_warnings():
        # Without a terminal getpass would warn, then read with the echo on.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return HiddenText(getpass.getpass(question))
        except (getpass.GetPassWarning, EOFError, OSError):
            pass
    raise KeyFileError(f"there is no terminal to ask at: {remedy}")


def _ask(question: str) -> HiddenText:
    return ask_hidden(
        question, 'have the password in a file of mode 0600 ("file:PATH") or from systemd ("credential:NAME")'
    )


def _credential(name: str) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise KeyFileError(
            f"credential {name}: CREDENTIALS_DIRECTORY is not set: add LoadCredential={name}:/path to the systemd unit"
        )
    return Path(folder) / name


def _decoded(raw: bytes) -> HiddenText | None:
    try:
        text = HiddenText(raw.decode())
    except UnicodeDecodeError:
        return None
    return HiddenText(re.sub(r"\r?\n\Z", "", text, count=1))


def _checked(text: HiddenText | None, place: str) -> HiddenText:
    if text is None:
        raise KeyFileError(f"{place} is no UTF-8 text: write the password into it as text")
    if not text:
        raise KeyFileError(f"{place} is empty: a key needs a password")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise KeyFileError(f"{place} holds a control character or a second line: a prompt could not take it")
    return text


def _long_enough(password: HiddenText) -> None:
    if len(unicodedata.normalize("NFKC", password)) < LEAST_LENGTH:
        raise KeyFileError(
            f"the password is too short: at least {LEAST_LENGTH} characters, or whoever copies the file guesses it. "
            f"Five random words are good and can be remembered"
        )
