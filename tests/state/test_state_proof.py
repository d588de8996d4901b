"""A proof of one key against the state's root: it needs the root and the genesis hash alone."""

from hashlib import sha256

import msgspec
import pytest

from state.errors import ProofError
from state.merkle import Proof, verify_in_state
from state.schema import BALANCE, COLLATERAL, HEAD, INCOME, Balance, Collateral, Head, encode_value
from state.state import State
from state.store import MemoryStore

GENESIS = b"\x07" * 32


@pytest.fixture
def state() -> State:
    """A state with some entries in three tables."""
    state = State(MemoryStore(), GENESIS, round_length=10)
    view = state.view()
    for number in range(40):
        view.put(BALANCE, Balance(number), f"account{number}")
    view.put(COLLATERAL, Collateral(5, 0), "alice")
    view.put(HEAD, Head(10, bytes(20), 0))
    state.commit(view)
    return state


def test_presence_absence_and_an_empty_table(state: State) -> None:
    root = state.current_root()
    present = state.proof(BALANCE, "account3")
    value = verify_in_state(root, GENESIS, "balance", BALANCE.key(("account3",)), *present)
    assert value == sha256(encode_value(Balance(3))).digest()
    absent = state.proof(BALANCE, "nobody")
    assert verify_in_state(root, GENESIS, "balance", BALANCE.key(("nobody",)), *absent) is None
    empty = state.proof(INCOME, 1, 2)
    assert verify_in_state(root, GENESIS, "income", INCOME.key((1, 2)), *empty) is None


def test_a_proof_serves_nothing_else(state: State) -> None:
    root, proof = state.current_root(), state.proof(BALANCE, "account3")
    key = BALANCE.key(("account3",))
    for wrong_root, genesis, table, wrong_key in (
        (bytes(32), GENESIS, "balance", key),
        (root, bytes(32), "balance", key),
        (root, GENESIS, "collateral", key),
        (root, GENESIS, "balance", BALANCE.key(("account4",))),
    ):
        with pytest.raises(ProofError):
            verify_in_state(wrong_root, genesis, table, wrong_key, *proof)


def test_each_changed_byte_is_noticed(state: State) -> None:
    root, key = state.current_root(), BALANCE.key(("account3",))
    pair = state.proof(BALANCE, "account3")
    packed = msgspec.msgpack.encode(pair)
    decoder = msgspec.msgpack.Decoder(tuple[Proof, Proof])
    for at in range(len(packed)):
        damaged = packed[:at] + bytes([packed[at] ^ 1]) + packed[at + 1 :]
        try:
            within, of_table = decoder.decode(damaged)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        with pytest.raises(ProofError):
            verify_in_state(root, GENESIS, "balance", key, within, of_table)
