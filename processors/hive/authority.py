"""hived's authority check (libraries/protocol/sign_state.hpp, transaction_util.cpp), as it answers.

Rules before and since hardfork 28 are a parameter: since 28 each operation needs exactly its own role, roles may be
mixed in one transaction, and superfluous signatures are allowed.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from processors.hive.errors import AuthorityError
from processors.hive.operations import Operation
from processors.hive.types import Authority

MAX_DEPTH, MAX_MEMBERSHIP, MAX_ACCOUNTS = 2, 40, 125
NULL_ACCOUNT = "null"

#: (role, name) -> authority; KeyError for an account that does not exist.
Getter = Callable[[str, str], Authority]


class Required(msgspec.Struct, frozen=True):
    """What a transaction must show: account names by role, sorted, and bare authorities."""

    posting: tuple[str, ...]
    active: tuple[str, ...]
    owner: tuple[str, ...]
    witness: tuple[str, ...]
    other: tuple[Authority, ...]


#: The field that names the account which must agree with its active authority.
_ACTIVE = {
    "transfer": "from",
    "transfer_to_vesting": "from",
    "withdraw_vesting": "account",
    "limit_order_create": "owner",
    "limit_order_create2": "owner",
    "limit_order_cancel": "owner",
    "feed_publish": "publisher",
    "convert": "owner",
    "collateralized_convert": "owner",
    "account_create": "creator",
    "account_create_with_delegation": "creator",
    "witness_update": "owner",
    "account_witness_vote": "account",
    "account_witness_proxy": "account",
    "set_withdraw_vesting_route": "from_account",
    "claim_account": "creator",
    "create_claimed_account": "creator",
    "request_account_recovery": "recovery_account",
    "escrow_transfer": "from",
    "escrow_dispute": "who",
    "escrow_release": "who",
    "escrow_approve": "who",
    "transfer_to_savings": "from",
    "transfer_from_savings": "from",
    "cancel_transfer_from_savings": "from",
    "reset_account": "reset_account",
    "delegate_vesting_shares": "delegator",
    "create_proposal": "creator",
    "update_proposal_votes": "voter",
    "remove_proposal": "proposal_owner",
    "update_proposal": "creator",
    "recurrent_transfer": "from",
}
_POSTING = {
    "vote": "voter",
    "comment": "author",
    "delete_comment": "author",
    "comment_options": "author",
    "claim_reward_balance": "account",
}
_OWNER = {"change_recovery_account": "account_to_recover", "decline_voting_rights": "account"}
_WITNESS = {"witness_block_approve": "witness"}
_NAME_LISTS = {
    "custom": (("active", "required_auths"),),
    "custom_json": (("active", "required_auths"), ("posting", "required_posting_auths")),
    "custom_binary": (
        ("owner", "required_owner_auths"),
        ("active", "required_active_auths"),
        ("posting", "required_posting_auths"),
    ),
}


def required_authorities(operations: Iterable[Operation]) -> Required:
    """What a transaction of these operations needs."""
    names: dict[str, set[str]] = {"posting": set(), "active": set(), "owner": set(), "witness": set()}
    other: list[Authority] = []
    for operation in operations:
        for role, name in _named(operation):
            names[role].add(name)
        other += _bare(operation)
    posting, active, owner, witness = (tuple(sorted(names[role])) for role in names)
    return Required(posting, active, owner, witness, tuple(other))


def _named(operation: Operation) -> list[tuple[str, str]]:
    name, value = operation.name, operation.value
    for role, table in (("active", _ACTIVE), ("posting", _POSTING), ("owner", _OWNER), ("witness", _WITNESS)):
        if name in table:
            return [(role, value[table[name]])]
    if name in _NAME_LISTS:
        return [(role, account) for role, field in _NAME_LISTS[name] for account in value[field]]
    if name in ("account_update", "account_update2"):
        return [(_update_role(name, value), value["account"])]
    if name == "set_reset_account":
        return [("owner" if value["current_reset_account"] else "posting", value["account"])]
    if name == "pow2" and value["new_owner_key"] is None:
        return [("active", value["work"].value["input"]["worker_account"])]
    return []


def _update_role(name: str, value: dict[str, Any]) -> str:
    if value["owner"] is not None:
        return "owner"
    if name == "account_update" or any(value[field] is not None for field in ("active", "posting", "memo_key")):
        return "active"
    return "active" if value["json_metadata"] else "posting"


def _bare(operation: Operation) -> list[Authority]:
    value = operation.value
    if operation.name == "recover_account":
        return [value["new_owner_authority"], value["recent_owner_authority"]]
    if operation.name == "custom_binary":
        return list(value["required_auths"])
    if operation.name == "pow2" and value["new_owner_key"] is not None:
        return [Authority(1, (), ((value["new_owner_key"], 1),))]
    if operation.name == "witness_set_properties":
        key = dict(value["props"]).get("key")
        if key is None or len(key) != 33:
            return [Authority(1, ((NULL_ACCOUNT, 1),), ())]
        return [Authority(1, (), ((key, 1),))]
    return []


class _SignState:
    """sign_state.hpp: which provided keys are used, which accounts are approved already."""

    def __init__(self, keys: Iterable[bytes], get: Getter, rules: int) -> None:
        self.used = dict.fromkeys(sorted(keys), False)
        self.get = get
        self.role = "posting"
        self._strict = rules >= 28
        self._approved: set[str] = set()
        self._accounts = 0

    def clear_approved(self) -> None:
        self._approved.clear()

    def signed_by(self, key: bytes) -> bool:
        if key not in self.used:
            return False
        self.used[key] = True
        return True

    def account(self, name: str) -> bool:
        """The authority of ``name`` in the current role."""
        authority = self.get(self.role, name)
        if name in self._approved:
            return True
        self._accounts = self._accounts + 1 if self._strict else 1
        return self._check(authority, 0)

    def authority(self, authority: Authority) -> bool:
        """An authority as it stands."""
        if not self._strict:
            self._accounts = 0
        return self._check(authority, 0)

    def _check(self, authority: Authority, depth: int) -> bool:
        threshold = authority.weight_threshold
        total = members = 0
        for key, weight in authority.key_auths:
            if self.signed_by(key):
                total += weight
                if total >= threshold:
                    return True
            members += 1
            if members >= MAX_MEMBERSHIP:
                return False
        for name, weight in authority.account_auths:
            if name not in self._approved:
                if depth == MAX_DEPTH:
                    continue
                if self._accounts >= MAX_ACCOUNTS:
                    return False
                self._accounts += 1
                if self._check(self.get(self.role, name), depth + 1):
                    self._approved.add(name)
                    total += weight
                    if total >= threshold:
                        return True
            else:
                total += weight
                if total >= threshold:
                    return True
            members += 1
            if members >= MAX_MEMBERSHIP:
                return False
        return total >= threshold


def verify_authority(
    required: Required,
    keys: Iterable[bytes],
    get: Getter,
    *,
    rules: int = 28,
    witness_key: Callable[[str], bytes | None] = lambda name: None,
) -> None:
    """Raise AuthorityError, named as hived names it, unless ``keys`` satisfy ``required`` under ``rules`` (27, 28)."""
    state = _SignState(keys, get, rules)
    if required.posting:
        _verify_posting(state, required, rules)
        if rules < 28:
            return _verify_used(state)
    state.role = "active"
    state.clear_approved()
    for authority in required.other:
        if not state.authority(authority):
            raise AuthorityError("tx_missing_other_auth", "Missing Authority")
    for name in required.active:
        if not (state.account(name) or (rules < 28 and state.authority(get("owner", name)))):
            raise AuthorityError("tx_missing_active_auth", f"Missing Active Authority {name}")
    for name in required.owner:
        if not state.authority(get("owner", name)):
            raise AuthorityError("tx_missing_owner_auth", f"Missing Owner Authority {name}")
    for name in required.witness:
        key = witness_key(name)
        if key is None or not state.signed_by(key):
            raise AuthorityError("tx_missing_witness_auth", f"Missing Witness Authority {name}")
    return _verify_used(state) if rules < 28 else None


def _verify_posting(state: _SignState, required: Required, rules: int) -> None:
    if rules < 28 and (required.active or required.owner or required.witness or required.other):
        raise AuthorityError(
            "tx_combined_auths_with_posting",
            "Transactions with operations required posting authority cannot be combined with transactions "
            "requiring active or owner authority.",
        )
    for name in required.posting:
        enough = state.account(name)
        if not enough and rules < 28:
            enough = any(state.authority(state.get(role, name)) for role in ("active", "owner"))
        if not enough:
            raise AuthorityError("tx_missing_posting_auth", f"Missing Posting Authority {name}")


def _verify_used(state: _SignState) -> None:
    if not all(state.used.values()):
        raise AuthorityError("tx_irrelevant_sig", "Unnecessary signature(s) detected")
