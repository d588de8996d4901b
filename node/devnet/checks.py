"""What hived checks of a whole transaction besides its operations: its time and place, who signed, and who pays."""

from collections.abc import Callable, Mapping

from node.devnet.errors import HivedRefusalError, require
from node.devnet.ledger import Ledger
from processors.hive.authority import required_authorities
from processors.hive.block import reference_prefix
from processors.hive.chain import Chain
from processors.hive.crypto import is_low_s, recover_any
from processors.hive.errors import SignatureError
from processors.hive.transaction import Transaction, signing_digest

POOL_LIFETIME = 3_600  # seconds that a pool keeps a transaction
CUSTOM_OPS_PER_BLOCK = 5
TAPOS_SLOTS = 65_536
_NAME_FIELDS = ("required_auths", "required_posting_auths", "required_active_auths", "required_owner_auths")


def recover_keys(tx: Transaction, packed: bytes, chain: Chain) -> frozenset[bytes]:
    """The keys that signed, each once."""
    digest = signing_digest(packed, chain)
    keys: set[bytes] = set()
    for signature in tx.signatures:
        try:
            key = recover_any(signature, digest)
        except SignatureError as error:
            words = "unable to reconstruct public key from signature"
            raise HivedRefusalError("assert_exception", words) from error
        if key in keys:
            expression = "new_signature_info.signature_keys.insert(fc::ecc::public_key(signature, sig_digest)).second"
            raise HivedRefusalError("tx_duplicate_sig", f"{expression}: Duplicate signature detected")
        keys.add(key)
    require(all(map(is_low_s, tx.signatures)), "is_canonical(c)", "signature is not canonical")
    return frozenset(keys)


def check_credits(ledger: Ledger, tx: Transaction) -> None:
    """The first account whose authority the transaction needs pays for it; without vesting it cannot."""
    for operation in tx.operations:
        if operation.name == "recover_account":
            payer = operation.value["account_to_recover"]
        else:
            required = required_authorities([operation])
            payer = next(iter((*required.active, *required.owner, *required.posting)), None)
        if payer is not None:
            if ledger.account(payer).credits <= 0:
                raise HivedRefusalError(
                    "not_enough_rc_exception",
                    f"has_mana: Account: {payer} has 0 RC, needs 1 RC. Please wait to transact or power up HIVE.",
                )
            return


def check_expiration(expiration: int, drop_at: int, now: int, rules: int) -> None:
    """A transaction expires neither too far ahead nor before now."""
    latest = now + (86_400 if rules >= 28 else POOL_LIFETIME)
    if expiration > latest:
        limit = "HIVE_MAX_TIME_UNTIL_SIGNATURE_EXPIRATION" if rules >= 28 else "HIVE_MAX_TIME_UNTIL_EXPIRATION"
        raise HivedRefusalError("transaction_expiration_exception", f"trx.expiration <= now + {limit}: ")
    if now >= drop_at:
        words = "now < full_transaction->get_runtime_expiration(): "
        raise HivedRefusalError("transaction_expiration_exception", words)


def check_tapos(tx: Transaction, head: int, id_of: Callable[[int], bytes]) -> None:
    """A transaction names one of the last 65,536 blocks, by its number and a part of its id."""
    number = head - (head - tx.ref_block_num) % TAPOS_SLOTS
    expected = reference_prefix(id_of(number)) if 1 <= number <= head else 0
    if tx.ref_block_prefix != expected:
        words = "trx.ref_block_prefix == tapos_block_summary.block_id._hash[1]: "
        raise HivedRefusalError("transaction_tapos_exception", words)


def count_custom(tx: Transaction, counted: Mapping[str, int]) -> dict[str, int]:
    """The pool's limit of custom operations, an account and block; a block may hold more. Returns the new counts."""
    counts: dict[str, int] = {}
    for operation in tx.operations:
        if operation.name in ("custom_json", "custom", "custom_binary"):
            names = {name for field in _NAME_FIELDS for name in operation.value.get(field, ()) if type(name) is str}
            for name in sorted(names):
                counts[name] = counts.get(name, counted.get(name, 0)) + 1
                require(
                    counts[name] <= CUSTOM_OPS_PER_BLOCK,
                    "insert_info.first->second <= HIVE_CUSTOM_OP_BLOCK_LIMIT",
                    f"Account {name} already submitted {CUSTOM_OPS_PER_BLOCK} custom json operation(s) this block.",
                )
    return counts
