"""A small Hive for the verdict tests: accounts whose owner, active and posting keys differ, and ways to send."""

from typing import Any

from msgspec.structs import replace

from node.devnet.chain import DevnetChain
from node.devnet.errors import HivedRefusalError
from node.devnet.founding import CHAIN, START_TIME, WITNESS, devnet_key, one_key
from node.devnet.ledger import Account
from node.signer.keys import SecretKey
from processors.hive.block import reference_prefix
from processors.hive.crypto import ORDER
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, pack_transaction, signing_digest
from processors.hive.types import Asset, Authority

HIVE, HBD, VESTS = 0, 1, 2
#: The name of an error, or words of it; None = accepted.
Verdict = str | None


def key(words: str) -> SecretKey:
    """The key of an account in a role, "alice active"; or any other by its name."""
    return devnet_key(words)


def keys_of(*secrets: SecretKey, threshold: int = 1, accounts: dict[str, int] | None = None) -> Authority:
    """An authority of keys with weight 1 each, and of accounts."""
    auths = tuple(sorted((accounts or {}).items()))
    return Authority(threshold, auths, tuple(sorted((secret.public, 1) for secret in secrets)))


def custom_json(*active: str, posting: tuple[str, ...] = (), name: str = "waggle", json: str = "{}") -> Operation:
    """A custom_json of accounts by role."""
    fields = {"required_auths": tuple(sorted(active)), "required_posting_auths": tuple(sorted(posting))}
    return Operation("custom_json", {**fields, "id": name, "json": json})


def transfer(sender: str = "alice", to: str = "bob", amount: int = 1, kind: int = HIVE, memo: str = "") -> Operation:
    """A transfer."""
    return Operation("transfer", {"from": sender, "to": to, "amount": Asset(amount, kind), "memo": memo})


def update(account: str = "alice", **changes: Any) -> Operation:
    """An account_update."""
    fields = {"owner": None, "active": None, "posting": None, "memo_key": key("alice memo").public, "json_metadata": ""}
    return Operation("account_update", {"account": account, **fields, **changes})


def update2(account: str = "alice", **changes: Any) -> Operation:
    """An account_update2."""
    fields = {"owner": None, "active": None, "posting": None, "memo_key": None, "json_metadata": ""}
    more = {"posting_json_metadata": "", "extensions": ()}
    return Operation("account_update2", {"account": account, **fields, **more, **changes})


def high_s(signature: bytes) -> bytes:
    """The other signature by the same key: s above half the order."""
    s = ORDER - int.from_bytes(signature[33:], "big")
    return bytes([31 + ((signature[0] - 31) ^ 1)]) + signature[1:33] + s.to_bytes(32, "big")


class World:
    """A chain a few blocks old with alice, bob, carol, dave and frank; poor has no vesting."""

    def __init__(self, rules: int = 28, start: int = START_TIME) -> None:
        self.chain = DevnetChain(CHAIN, WITNESS, start, rules=rules)
        for name in ("alice", "bob", "carol", "dave", "frank"):
            self.add(name)
        self.add("poor", vests=0)
        self._unique = 0
        for _ in range(3):
            self.chain.produce()

    def add(self, name: str, vests: int = 10**12, **changes: Any) -> None:
        """A new account with keys "name role"."""
        roles = {role: one_key(key(f"{name} {role}").public) for role in ("owner", "active", "posting")}
        account = Account(name, *roles.values(), key(f"{name} memo").public, (1_000, 1_000, vests), "carol")
        self.chain.add_account(replace(account, **changes))

    def tx(self, operations: list[Operation], **changes: Any) -> Transaction:
        """An unsigned transaction on the head block; no two are the same."""
        self._unique += 1
        chain = self.chain
        tx = Transaction(
            chain.head_number & 0xFFFF,
            reference_prefix(chain.head_id),
            chain.head_time + 600 + self._unique,
            tuple(operations),
        )
        return replace(tx, **changes)

    def sign(self, tx: Transaction, *secrets: SecretKey, typed: bool = False) -> Transaction:
        """The transaction with signatures by these keys, in this order."""
        digest = signing_digest(pack_transaction(tx, CHAIN, typed=typed), CHAIN)
        return replace(tx, signatures=tuple(secret.sign(digest) for secret in secrets))

    def send(
        self, operations: list[Operation], *signers: str | SecretKey, typed: bool = False, **changes: Any
    ) -> bytes:
        """Sign by "account role" names or keys, and submit."""
        secrets = [key(signer) if isinstance(signer, str) else signer for signer in signers]
        return self.chain.submit(self.sign(self.tx(operations, **changes), *secrets, typed=typed))

    def active(self, *secrets: SecretKey, threshold: int, name: str = "alice") -> None:
        """Give an account an active authority of these keys, by account_update, in a block."""
        self.send([update(name, active=keys_of(*secrets, threshold=threshold))], f"{name} active")
        self.chain.produce()


def verdict(world: World, *arguments: Any, **changes: Any) -> tuple[str, str] | None:
    """None if ``World.send`` is accepted, otherwise (name, message) of the refusal."""
    try:
        world.send(*arguments, **changes)
    except HivedRefusalError as refusal:
        return refusal.name, refusal.message
    return None
