"""What people and strangers send to the chain by themselves: registrations, bad signatures, changes from outside."""

import json
from collections.abc import Iterable

from msgspec.structs import replace

from node.devnet.chain import DevnetChain
from node.devnet.errors import HivedRefusalError
from node.devnet.founding import CHAIN, GROUP, MemberKeys, devnet_key, one_key
from node.signer.keys import SecretKey
from processors.genesis import Genesis, pop_digest
from processors.hive.block import reference_prefix
from processors.hive.keys import NULL_KEY, public_key_to_text
from processors.hive.operations import Operation, active_custom_json
from processors.hive.transaction import Transaction, pack_transaction, signing_digest
from processors.hive.types import Authority

STRANGER = "stranger"
_LIFETIME = 60  # seconds


class Outsiders:
    """Everybody who is not a node. ``keyring`` holds every signing key by its public half."""

    def __init__(self, chain: DevnetChain, genesis: Genesis) -> None:
        self.chain = chain
        self.genesis = genesis
        self.keyring: dict[bytes, SecretKey] = {}
        self.refusals: list[str] = []

    # -- sending

    def send(self, operations: Iterable[Operation], keys: Iterable[SecretKey]) -> bytes | None:
        """Sign and submit; the transaction's id, or None if Hive refused it."""
        tx = self._transaction(tuple(operations))
        digest = signing_digest(pack_transaction(tx, CHAIN), CHAIN)
        try:
            return self.chain.submit(replace(tx, signatures=tuple(key.sign(digest) for key in keys)))
        except HivedRefusalError as refusal:
            self.refusals.append(str(refusal))
            return None

    def _transaction(self, operations: tuple[Operation, ...]) -> Transaction:
        number, expiration = self.chain.head_number, self.chain.head_time + _LIFETIME
        return Transaction(number & 0xFFFF, reference_prefix(self.chain.head_id), expiration, operations)

    def custom_json(self, account: str, key: SecretKey, name: str, body: dict[str, object]) -> bytes | None:
        """One of ours, from anybody."""
        operation = active_custom_json(account, self.genesis.prefix + name, json.dumps(body))
        return self.send([operation], [key])

    # -- members

    def register(
        self, member: MemberKeys, key: SecretKey, *, pop: bytes | None = None, follow_active: bool = False
    ) -> bytes | None:
        """node_add; ``pop`` if it is not to be the right one."""
        proof = pop or key.sign(pop_digest(self.genesis.hash, member.account))
        body: dict[str, object] = {
            "domain": f"https://{member.account}.example",
            "signing_key": public_key_to_text(key.public, CHAIN.address_prefix),
            "pop": proof.hex(),
            "follow_active": follow_active,
        }
        return self.custom_json(member.account, member.account_key, "node_add", body)

    def unregister(self, member: MemberKeys) -> bytes | None:
        """node_delete."""
        return self.custom_json(member.account, member.account_key, "node_delete", {})

    def claim_by_account(self, member: MemberKeys, stolen: bytes) -> bytes | None:
        """The member's own active authority takes in somebody else's signing key."""
        both = tuple(sorted([(member.account_key.public, 1), (stolen, 1)]))
        return self.send([_update(member.account, None, Authority(1, (), both))], [member.account_key])

    def submit_signature(self, op: str, sig: bytes) -> bytes | None:
        """A stranger submits a signature."""
        body: dict[str, object] = {"op": op, "sig": sig.hex()}
        return self.custom_json(STRANGER, devnet_key(STRANGER), "sig_submit", body)

    # -- the group's account

    def change_authority(
        self, authority: Authority, *, owner_too: bool, second: bool, claims: str = ""
    ) -> bytes | None:
        """An account_update (or account_update2) that keys of the present authority sign, behind the group's back.

        With ``claims`` it says besides that this record was included, which is not so.
        """
        role = "owner" if owner_too else "active"
        keys = self.enough_keys(role)
        if keys is None:
            return None
        operation = _update(GROUP, authority if owner_too else None, authority)
        if second:
            value = {**operation.value, "posting_json_metadata": "", "extensions": []}
            operation = Operation("account_update2", {**value, "memo_key": None})
        if claims and not owner_too:
            lie = active_custom_json(GROUP, self.genesis.prefix + "ms_signed", json.dumps({"op": claims}))
            return self.send([operation, lie], keys)
        return self.send([operation], keys)

    def request_recovery(self, founder: MemberKeys, owner: Authority) -> bytes | None:
        """The recovery account asks for a new owner authority."""
        value = {
            "recovery_account": founder.account,
            "account_to_recover": GROUP,
            "new_owner_authority": owner,
            "extensions": [],
        }
        return self.send([Operation("request_account_recovery", value)], [founder.account_key])

    def recover(self, owner: Authority, key: SecretKey) -> bytes | None:
        """Whoever satisfied owner before takes it back."""
        history = self.chain.ledger.accounts[GROUP].owner_history
        for recent, _ in history:
            keys = self._keys_for(recent)
            if keys is not None:
                value = {
                    "account_to_recover": GROUP,
                    "new_owner_authority": owner,
                    "recent_owner_authority": recent,
                    "extensions": [],
                }
                all_keys = {k.public: k for k in [*keys, key]}
                return self.send([Operation("recover_account", value)], all_keys.values())
        return None

    def set_credits(self, vests: int) -> None:
        """The group account's vesting becomes ``vests``."""
        self.chain.amend(GROUP, lambda group: replace(group, balances=(*group.balances[:2], vests)))

    def enough_keys(self, role: str) -> list[SecretKey] | None:
        """Keys of the ring that just meet an authority of the group at the head."""
        authority: Authority = getattr(self.chain.ledger.accounts[GROUP], role)
        return self._keys_for(authority)

    def _keys_for(self, authority: Authority) -> list[SecretKey] | None:
        found, weight = [], 0
        for key, key_weight in authority.key_auths:
            if weight < authority.weight_threshold and key in self.keyring:
                found.append(self.keyring[key])
                weight += key_weight
        return found if 0 < authority.weight_threshold <= weight else None


def foolish(kind: int, present: Authority, honest: list[bytes]) -> Authority:
    """Another authority that the honest members can still meet, and with which they can still agree."""
    if kind > 2 and len(present.key_auths) < 4:
        kind = 2  # one foreign entry beside so few would leave nobody with more than half of the weight
    if kind == 0:
        return one_key(honest[0])
    if kind == 1:
        return Authority(len(honest[:2]), (), tuple((key, 1) for key in sorted(honest[:2])))
    if kind == 2:
        doubled = tuple((key, 2 * weight) for key, weight in present.key_auths)
        return Authority(2 * present.weight_threshold, present.account_auths, doubled)
    if kind == 3:
        foreign = devnet_key("foreign").public
        return Authority(
            present.weight_threshold,
            present.account_auths,
            tuple(sorted({**dict(present.key_auths), foreign: 1}.items())),
        )
    return Authority(present.weight_threshold, ((STRANGER, 1),), present.key_auths)


def _update(account: str, owner: Authority | None, active: Authority | None) -> Operation:
    value = {"account": account, "owner": owner, "active": active, "posting": None}
    return Operation("account_update", {**value, "memo_key": NULL_KEY, "json_metadata": ""})
