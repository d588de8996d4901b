"""What an auditor can find: each kind of deviation by name, with the section of the protocol that it breaks."""

import msgspec

#: So many findings of a kind are kept in full; the others are counted.
KEPT = 1_000

#: kind -> (section of docs/protocol.md, what it means)
KINDS: dict[str, tuple[str, str]] = {
    "not_linked": ("1", "a block does not follow the one before it"),
    "unproven": ("1", "the transactions of a block are not those under its header's Merkle root"),
    "time_backwards": ("1", "a block is not later than the one before it"),
    "witness_key": ("1", "a witness signs with another key than before, and no operation changed it"),
    "not_serialised": ("1", "a block holds what this version cannot serialise, and so cannot be proven"),
    "damaged": ("1", "the history cannot be read on"),
    "other_genesis": ("2", "no report of a round is signed for this genesis document"),
    "rules_broken": ("3", "a block cannot be applied to the state by the rules"),
    "root_wrong": ("5", "a member reported a root that is not the one which comes out"),
    "root_agreed": ("5", "the group agreed on a root that is not the one which comes out"),
    "other_header": ("5", "a member reported a header that this chain does not have: its node follows another one"),
    "equivocation": ("5", "a member signed two roots for one height"),
    "unknown_transaction": ("4", "the group account did what no rule built"),
    "altered_transaction": ("6", "what claims to be a group transaction is not, byte for byte, the one that was built"),
    "authority_not_met": ("7", "the signatures do not meet the group account's authority as of then"),
    "foreign_signature": ("7", "a signature of a group transaction is by no key of the authorities it needs"),
    "state_signature": ("7", "the state holds a signature under a key that did not make it"),
    "included_late": ("8", "a group transaction stands in a block after its end"),
    "included_twice": ("8", "a group transaction, or a payload, stands in two blocks"),
    "marked_transaction": ("10", "a group transaction that the seats marked was sent after all"),
    "snapshot": ("9", "a snapshot is not of the state that comes out"),
    "trusted_root": ("9", "a root that was given is not the one which comes out"),
    "rules_unknown": ("9", "the group follows rules that this version does not know"),
    "supply": ("4", "tokens came from nowhere or went nowhere"),
    "recovery": ("12", "somebody moved towards taking the group account"),
    "owner_changes": ("12", "an account_update changed owner a third time within an hour, which Hive refuses"),
    "reference_block": ("12", "a transaction refers to a block that this history does not have"),
    "sender_signature": ("12", "the signature of a transaction with an operation of the group's recovers to no key"),
}


class Finding(msgspec.Struct, frozen=True):
    """One deviation: where, who if one can tell, and what in words. ``txid`` is hex."""

    kind: str
    section: str
    height: int
    words: str
    account: str = ""
    txid: str = ""


class Findings:
    """All that was found, in the order of the chain; no more than ``KEPT`` of each kind in full."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: dict[str, int] = {}

    def add(self, kind: str, height: int, words: str, *, account: str = "", txid: bytes = b"") -> None:
        """Something is not as it must be."""
        count = self.counts[kind] = self.counts.get(kind, 0) + 1
        if count <= KEPT:
            self.kept.append(Finding(kind, KINDS[kind][0], height, words, account, txid.hex()))

    @property
    def total(self) -> int:
        """How many there are, also of those not kept."""
        return sum(self.counts.values())
