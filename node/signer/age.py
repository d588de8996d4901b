"""How old the journal is, and the keys: a key that may have signed elsewhere signs nothing for a header lifetime.

A fresh journal, one that was copied or restored, and one that lacks a signature which stands on chain are all younger
than what their keys may have signed. After a header lifetime of blocks every such transaction is dead.
"""

from collections.abc import Iterable

from node.signer.journal import Journal
from node.signer.policy import spends_of
from processors.contents import contents
from processors.genesis import ROLES, Genesis
from processors.params import read
from state.schema import AUTHORITY, KEY, MS, SIG, Record
from state.state import State


def look(journal: Journal, keys: Iterable[bytes], state: State, genesis: Genesis) -> list[str]:
    """Bring the journal up to what a live node's state shows; returns the ids of transactions that our keys signed
    elsewhere. Raises JournalError."""
    elsewhere = _signed_elsewhere(journal, keys, state)
    if journal.born is None or journal.is_moved or elsewhere:
        head = state.head
        journal.begin(head.height, head.timestamp, _held_until(journal, state, genesis, bool(elsewhere)))
    for op, record in elsewhere:  # after it began anew: a crash in between must not leave a journal that looks whole
        _take_in(journal, state, op, record)
    for key in keys:
        if not journal.knows_key(key):
            journal.note_key(key, is_new=not _is_known(state, key))
    return [op for op, _ in elsewhere]


def _held_until(journal: Journal, state: State, genesis: Genesis, is_older: bool) -> int:
    """The block time until which keys that the chain knows already are held back."""
    if not (journal.is_moved or is_older) and journal.born is None:
        founding = state.height <= genesis.start_block + genesis.params.round_length and not journal.ids()
        if founding or journal.is_of_first_release:
            return 0
    lifetime = max(genesis.params.header_lifetime, read(state.view()).header_lifetime)  # it may have been changed
    return state.head.timestamp + lifetime


def _signed_elsewhere(journal: Journal, keys: Iterable[bytes], state: State) -> list[tuple[str, Record]]:
    """Transactions that one of our keys has signed on chain and that the journal does not hold."""
    return [
        (str(op), record)
        for (op,), record in state.walk(MS)
        if not journal.has(record.payloads, record.txid) and any(state.get(SIG, str(op), key) for key in keys)
    ]


def _take_in(journal: Journal, state: State, op: str, record: Record) -> None:
    """The journal holds it from now on, and what it pays counts to the limits of the day."""
    spends = spends_of(contents(state, record.payloads))
    journal.write(record.payloads, record.txid, record.expiration, op, time=state.head.timestamp, spends=spends)


def _is_known(state: State, key: bytes) -> bool:
    """Whether a key is registered, or stands in an authority of the group account."""
    if state.get(KEY, key) is not None:
        return True
    return any(key == found for role in ROLES for found, _ in state.need(AUTHORITY, role).keys)
