"""Keys and signatures: strict recovery, low s, text forms; ecdsa as differential oracle."""

import ecdsa
import pytest
from ecdsa.curves import SECP256k1
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.hive import crypto, crypto_pure
from processors.hive.errors import HiveDataError, SignatureError
from processors.hive.keys import (
    base58_decode,
    base58_encode,
    private_key_from_wif,
    private_key_to_wif,
    public_key_from_text,
    public_key_to_text,
)
from tests.vectors import golden

secrets = st.integers(1, crypto.ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


@pytest.mark.parametrize("vector", golden(), ids=lambda vector: vector["name"])
def test_golden_signatures_recover(vector):
    digest = bytes.fromhex(vector["digest_hex"])
    recovered = [crypto.recover(bytes.fromhex(sig), digest).hex() for sig in vector["signatures"]]
    assert recovered == vector["recovered_pubkeys_hex"]
    for wif, text, key in zip(
        vector["private_keys_wif"], vector["public_keys"], vector["public_keys_hex"], strict=True
    ):
        secret = private_key_from_wif(wif)
        assert private_key_to_wif(secret) == wif
        assert crypto.public_key(secret).hex() == key
        assert public_key_to_text(bytes.fromhex(key), vector["prefix"]) == text
        assert public_key_from_text(text, vector["prefix"]).hex() == key
        assert crypto.recover(crypto.sign(secret, digest), digest).hex() == key


@given(secrets, digests)
@settings(max_examples=50, deadline=None)
def test_sign_and_recover_agree_with_another_implementation(secret, digest):
    signature = crypto.sign(secret, digest)
    assert signature == crypto.sign(secret, digest)
    assert crypto.is_low_s(signature)
    key = crypto.recover(signature, digest)
    verifier = ecdsa.VerifyingKey.from_string(key, SECP256k1)
    assert verifier.verify_digest(signature[1:], digest)
    assert ecdsa.SigningKey.from_string(secret, SECP256k1).verifying_key.to_string("compressed") == key


@given(secrets, digests)
@settings(max_examples=15, deadline=None)
def test_the_pure_fallback_gives_the_same_bytes(secret, digest):
    signature = crypto.sign(secret, digest)
    assert crypto_pure.sign(secret, digest) == signature
    assert crypto_pure.public_key(secret) == crypto.public_key(secret)
    assert crypto_pure.recover(signature[1:], signature[0] - 31, digest) == crypto.public_key(secret)


def test_without_coincurve_everything_still_works(monkeypatch):
    monkeypatch.setattr(crypto, "FAST", False)
    digest = b"\5" * 32
    key = crypto.public_key(b"\1" * 32)
    assert crypto.recover(crypto.sign(b"\1" * 32, digest), digest) == key
    assert crypto.is_valid_point(key) and not crypto.is_valid_point(b"\2" + b"\xff" * 32)
    with pytest.raises(SignatureError):
        crypto.recover(b"\x1f" + b"\1" * 64, digest) and crypto.recover(b"\x1f" + b"\5" * 32 + b"\1" * 32, digest)


def high_twin(signature: bytes) -> bytes:
    """The other signature of the same key and digest: s negated, the recovery bit flipped."""
    s = crypto.ORDER - int.from_bytes(signature[33:], "big")
    return bytes([31 + ((signature[0] - 31) ^ 1)]) + signature[1:33] + s.to_bytes(32, "big")


@given(secrets, digests)
@settings(max_examples=20, deadline=None)
def test_high_s_is_refused(secret, digest):
    twin = high_twin(crypto.sign(secret, digest))
    assert crypto.recover_any(twin, digest) == crypto.public_key(secret)
    with pytest.raises(SignatureError):
        crypto.recover(twin, digest)
    with pytest.raises(SignatureError):
        crypto.recover_as_hived(twin, digest)


def test_hived_takes_27_plus_id_and_we_do_not():
    digest = b"\1" * 32
    signature = crypto.sign(b"\2" * 32, digest)
    other = bytes([signature[0] - 4]) + signature[1:]
    assert crypto.recover_as_hived(other, digest) == crypto.public_key(b"\2" * 32)
    with pytest.raises(SignatureError):
        crypto.recover(other, digest)


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(65),
        b"\x1f" + bytes(64),
        b"\x1f" + b"\xff" * 64,
        b"\x23" + b"\1" * 64,
        b"\x1f" + b"\1" * 63,
        b"\x1f" + bytes(32) + b"\1" * 32,
        b"\x1f" + b"\1" * 32 + bytes(32),
        b"\x1f" + b"\xff" * 32 + b"\1" * 32,
    ],
)
def test_garbage_recovers_to_an_error(signature):
    with pytest.raises(SignatureError):
        crypto.recover(signature, bytes(32))


def test_what_is_kept_at_hand_is_bounded_and_the_newest_stays(monkeypatch):
    monkeypatch.setattr(crypto, "_RECOVERED", 10)
    monkeypatch.setattr(crypto, "_recovered", crypto._Recovered())
    anew = []
    genuine = crypto._recover_anew
    monkeypatch.setattr(
        crypto, "_recover_anew", lambda compact, digest: anew.append(digest) or genuine(compact, digest)
    )
    digests, secret = [bytes([number]) * 32 for number in range(1, 36)], b"\3" * 32
    for digest in digests:
        assert crypto.recover(crypto.sign(secret, digest), digest) == crypto.public_key(secret)
    assert len(crypto._recovered._young) + len(crypto._recovered._old) <= 20
    anew.clear()
    for digest in digests:
        assert crypto.recover(crypto.sign(secret, digest), digest) == crypto.public_key(secret)
        assert crypto.recover_as_hived(crypto.sign(secret, digest), digest) == crypto.public_key(secret)
    assert anew == digests, "what is asked for again at once is at hand, what was long ago is not"


def test_what_another_process_recovered_is_not_recovered_again(monkeypatch):
    monkeypatch.setattr(crypto, "_recovered", crypto._Recovered())
    digest, secret = b"\7" * 32, b"\4" * 32
    signature = crypto.sign(secret, digest)
    crypto.remember(signature, digest, crypto.public_key(secret))
    twin = high_twin(signature)
    crypto.remember(twin, digest, crypto.public_key(secret))
    monkeypatch.setattr(crypto, "_recover_anew", lambda compact, digest: pytest.fail("it was at hand"))
    assert crypto.recover(signature, digest) == crypto.public_key(secret)
    assert crypto.recover_any(bytes([signature[0] - 4]) + signature[1:], digest) == crypto.public_key(secret)
    with pytest.raises(SignatureError):
        crypto.recover(twin, digest)  # what is at hand opens no door that was closed


def test_points():
    key = crypto.public_key(b"\1" * 32)
    assert crypto.is_valid_point(key)
    for other in (b"", key[:32], b"\4" + key[1:], b"\2" + b"\xff" * 32, bytes(33)):
        assert not crypto.is_valid_point(other)


@given(st.binary(max_size=60))
def test_base58_round_trip(data):
    assert base58_decode(base58_encode(data)) == data


@pytest.mark.parametrize(
    "text",
    ["", "STM", "TST6NHUe6Hw5", "STM0", "STM6NHUe6Hw5P2aF14oeKPq5SmHteCkTGsGLnaCdEm6Qm9eRLD4Gj", "STMé"],
)
def test_what_is_no_public_key(text):
    with pytest.raises(HiveDataError):
        public_key_from_text(text, "STM")


def test_a_refused_private_key_is_not_quoted():
    wif = private_key_to_wif(b"\7" * 32)
    wrong = wif[:-1] + ("2" if wif[-1] != "2" else "3")
    with pytest.raises(HiveDataError) as caught:
        private_key_from_wif(wrong)
    assert wrong not in str(caught.value)
