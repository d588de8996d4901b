"""What hived checks of a whole transaction besides its operations: who signed, and who pays."""

from node.devnet.errors import HivedRefusalError, require
from node.devnet.ledger import Ledger
from processors.hive.authority import required_authorities
from processors.hive.chain import Chain
from processors.hive.crypto import is_low_s, recover_any
from processors.hive.errors import SignatureError
from processors.hive.transaction import Transaction, signing_digest


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
