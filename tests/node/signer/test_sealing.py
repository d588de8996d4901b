"""Sealing: scrypt and AES-256-GCM, with the whole header authenticated."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.errors import KeyFileError
from node.signer import sealing
from node.signer.sealing import canonical, is_hex, parse_object, seal, unseal, wrong_sealing
from node.signer.secret import HiddenText

HEADER = {"waggle_thing": 1, "owner": "alice"}
PASSWORD = "correct horse battery"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(sealing, "_WORK", 16)


def test_what_is_written_costs_as_much_as_it_should_and_anybody_can_open_it():
    """With the published parameters alone, by the libraries alone."""
    header, sealed = seal(HEADER, b"content", PASSWORD)
    assert header["kdf"]["n"] >= 1 << 17
    assert (header["kdf"]["r"], header["kdf"]["p"], header["cipher"]["name"]) == (8, 1, "aes-256-gcm")
    salt, nonce = bytes.fromhex(header["kdf"]["salt"]), bytes.fromhex(header["cipher"]["nonce"])
    key = Scrypt(salt=salt, length=32, n=header["kdf"]["n"], r=8, p=1).derive(PASSWORD.encode())
    assert AESGCM(key).decrypt(nonce, sealed, canonical(header)) == b"content"
    assert wrong_sealing(header) is None


def test_the_bounds_of_the_product():
    assert sealing._WORK == 1 << 17
    assert sealing._MOST_WORK == 1 << 20


def test_salt_and_nonce_are_never_the_same(quick):
    made = [seal(HEADER, b"content", PASSWORD) for _ in range(20)]
    assert len({header["kdf"]["salt"] for header, _ in made}) == 20
    assert len({header["cipher"]["nonce"] for header, _ in made}) == 20
    assert len({sealed for _, sealed in made}) == 20


def test_opened_by_its_password_alone(quick):
    header, sealed = seal(HEADER, b"content", PASSWORD)
    assert unseal(header, sealed, PASSWORD) == b"content"
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1]):
        assert unseal(header, sealed, wrong) is None


def test_no_field_of_the_header_and_no_byte_of_the_rest_can_be_changed(quick):
    header, sealed = seal(HEADER, b"content", PASSWORD)
    kdf, cipher = header["kdf"], header["cipher"]
    changed = [
        {**header, "owner": "mallory"},
        {**header, "waggle_thing": 2},
        {**header, "more": ""},
        {key: value for key, value in header.items() if key != "owner"},
        {**header, "kdf": {**kdf, "n": 32}},
        {**header, "kdf": {**kdf, "salt": "00" * 32}},
        {**header, "cipher": {**cipher, "nonce": "00" * 12}},
        {**header, "cipher": {**cipher, "name": "aes-128-gcm"}},
    ]
    assert all(unseal(one, sealed, PASSWORD) is None for one in changed)
    for at in range(len(sealed)):
        assert unseal(header, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], PASSWORD) is None
    assert unseal(header, sealed[:-1], PASSWORD) is None
    assert unseal(header, sealed + b"\0", PASSWORD) is None
    assert unseal(header, b"", PASSWORD) is None


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("kdf", "name", "pbkdf2", "kdf"),
        ("kdf", "more", 1, "kdf"),
        ("kdf", "n", 1 << 16, "cheap"),
        ("kdf", "n", 2, "cheap"),
        ("kdf", "n", 1, "cheap"),
        ("kdf", "n", 1 << 21, "memory"),
        ("kdf", "n", 1 << 62, "memory"),
        ("kdf", "n", 0, "parameters"),
        ("kdf", "n", -(1 << 17), "cheap"),
        ("kdf", "n", (1 << 17) + 1, "parameters"),
        ("kdf", "n", True, "parameters"),
        ("kdf", "n", "131072", "parameters"),
        ("kdf", "n", None, "parameters"),
        ("kdf", "r", 1, "parameters"),
        ("kdf", "r", 1 << 20, "parameters"),
        ("kdf", "p", 0, "parameters"),
        ("kdf", "p", 1 << 20, "parameters"),
        ("kdf", "p", True, "parameters"),
        ("kdf", "salt", "", "salt"),
        ("kdf", "salt", "00" * 31, "salt"),
        ("kdf", "salt", "AA" * 32, "salt"),
        ("kdf", "salt", 5, "salt"),
        ("cipher", "name", "aes-256-cbc", "cipher"),
        ("cipher", "tag", "", "cipher"),
        ("cipher", "nonce", "00" * 11, "nonce"),
        ("cipher", "nonce", "00" * 12 + "\n", "nonce"),
        ("cipher", "nonce", None, "nonce"),
    ],
)
def test_what_is_refused_before_any_work_is_done(part, key, value, said, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sealing, "_WORK", 1 << 17)
        patched.setattr(sealing, "_derive", lambda *words: bytes(32))
        header, _ = seal(HEADER, b"content", PASSWORD)
    assert said in wrong_sealing({**header, part: {**header[part], key: value}})


@pytest.mark.parametrize("part", ["kdf", "cipher"])
@pytest.mark.parametrize("value", [None, [], "scrypt", 5, {}])
def test_a_part_that_is_missing_or_something_else(quick, part, value):
    header, _ = seal(HEADER, b"content", PASSWORD)
    assert part in wrong_sealing({**header, part: value})
    del header[part]
    assert part in wrong_sealing(header)


def test_too_little_memory_says_how_much_it_takes(monkeypatch):
    class Full:
        def __init__(self, **parameters):
            pass

        def derive(self, password):
            raise MemoryError

    monkeypatch.setattr(sealing, "Scrypt", Full)
    with pytest.raises(KeyFileError, match="scrypt needs 128 MiB") as no:
        seal(HEADER, b"content", HiddenText(PASSWORD))
    assert no.value.__context__ is None


def test_the_canonical_form_is_one_whatever_the_order():
    assert canonical({"b": 1, "a": "ä"}) == canonical({"a": "ä", "b": 1}) == b'{"a":"\\u00e4","b":1}'


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"5", b'{"a": 1, "a": 1}', b'{"a": {"b": 1, "b": 2}}', b'{"a": 1.0}', b'{"a": 1e3}', b"\xff{}",
     b'{"a": NaN}', b'{"a": Infinity}', "{\"a\": \"ä\"}".encode(), b"[" * 4000, b'{"a":' * 700, b"1" * 5000],
)  # fmt: skip
def test_what_is_no_object_that_could_be_ours(raw):
    assert parse_object(raw) is None


def test_hex_is_of_one_form():
    assert is_hex("00ff", 2)
    for value in ("00FF", "00f", "00 ff", "00ff\n", "0x00", "", 5, None, b"00ff", "००ff"):
        assert not is_hex(value, 2)
