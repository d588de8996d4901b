"""A chain's blocks made anew without some reports: whole, linked, and another chain from then on."""

from hashlib import sha256

from processors.hive.block import Header, block_id, merkle_root, show_header
from processors.hive.transaction import pack_signatures, show_transaction


def is_kept(entry, keep):
    """Whether a transaction stays: every one that is no report, and the reports of those whom ``keep`` names."""
    for operation in entry.tx.operations:
        if operation.value.get("id") == "waggle_report" and not keep(next(iter(operation.value["required_auths"]))):
            return False
    return True


def rewritten(chain, after, keep):
    """All blocks as a server shows them, by number; those after block ``after`` lack the reports not kept."""
    found = {number: chain.show_block(number, typed=True) for number in range(1, after + 1)}
    previous = chain.block(after).id
    for number in range(after + 1, chain.head_number + 1):
        true = chain.block(number)
        entries = [entry for entry in true.transactions if is_kept(entry, keep)]
        leaves = [sha256(entry.packed + pack_signatures(entry.tx.signatures)).digest() for entry in entries]
        header = Header(previous, true.header.timestamp, true.header.witness, merkle_root(leaves), (), bytes(65))
        previous = block_id(header)
        found[number] = {
            **show_header(header, typed=True),
            "transactions": [show_transaction(entry.tx, chain.chain, typed=True) for entry in entries],
            "block_id": previous.hex(),
            "transaction_ids": [entry.txid.hex() for entry in entries],
        }
    return found
