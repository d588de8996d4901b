"""Every operation type of Hive that can stand in a block, in the order of their numbers.

Fields and their packing order: FC_REFLECT in hived's hive_operations.hpp and dhf_operations.hpp. Not represented:
the six account_creation_fee values in pow and witness_update operations before block 4,700,000 whose symbol bytes
were malformed (hived: legacy_asset.hpp lists them); such a block does not prove.
"""

from typing import Any

import msgspec

from processors.hive.chain import Chain
from processors.hive.compounds import (
    ASSET,
    AUTHORITY,
    BOOL,
    BYTES,
    DIGEST,
    FUTURE_EXTENSIONS,
    I16,
    I64,
    ID,
    KEY,
    NAME,
    SIGNATURE,
    TEXT,
    TIME,
    U16,
    U32,
    U64,
    Map,
    Optional,
    Set,
    StaticVariant,
    Struct,
    VariantSet,
    Vector,
)
from processors.hive.errors import HiveDataError, UnknownOperationError
from processors.hive.types import Int, Reader, Symbols, Text, varint

_CUSTOM_ID = Text(32)
_NAMES = Set(NAME)
_PRICE = Struct(base=ASSET, quote=ASSET)
_CHAIN_PROPERTIES = Struct(account_creation_fee=ASSET, maximum_block_size=U32, hbd_interest_rate=U16)
_BENEFICIARIES = Struct(beneficiaries=Vector(Struct(account=NAME, weight=U16)))
_POW2_INPUT = Struct(worker_account=NAME, prev_block=ID, nonce=U64)
_EQUIHASH_PROOF = Struct(n=U32, k=U32, seed=DIGEST, inputs=Vector(U32))
_POW2_WORK = StaticVariant(
    ("pow2", Struct(input=_POW2_INPUT, pow_summary=U32)),
    ("equihash_pow", Struct(input=_POW2_INPUT, proof=_EQUIHASH_PROOF, prev_block=ID, pow_summary=U32)),
)
_NEW_ACCOUNT = {
    "owner": AUTHORITY,
    "active": AUTHORITY,
    "posting": AUTHORITY,
    "memo_key": KEY,
    "json_metadata": TEXT,
}
_CHANGED = {"owner": Optional(AUTHORITY), "active": Optional(AUTHORITY), "posting": Optional(AUTHORITY)}
_ESCROW = {"from": NAME, "to": NAME, "agent": NAME, "who": NAME}

#: (name, fields) by operation number.
TABLE: tuple[tuple[str, Struct], ...] = (
    ("vote", Struct(voter=NAME, author=NAME, permlink=TEXT, weight=I16)),
    (
        "comment",
        Struct(
            parent_author=NAME,
            parent_permlink=TEXT,
            author=NAME,
            permlink=TEXT,
            title=TEXT,
            body=TEXT,
            json_metadata=TEXT,
        ),
    ),
    ("transfer", Struct(**{"from": NAME, "to": NAME, "amount": ASSET, "memo": TEXT})),
    ("transfer_to_vesting", Struct(**{"from": NAME, "to": NAME, "amount": ASSET})),
    ("withdraw_vesting", Struct(account=NAME, vesting_shares=ASSET)),
    (
        "limit_order_create",
        Struct(
            owner=NAME,
            orderid=U32,
            amount_to_sell=ASSET,
            min_to_receive=ASSET,
            fill_or_kill=BOOL,
            expiration=TIME,
        ),
    ),
    ("limit_order_cancel", Struct(owner=NAME, orderid=U32)),
    ("feed_publish", Struct(publisher=NAME, exchange_rate=_PRICE)),
    ("convert", Struct(owner=NAME, requestid=U32, amount=ASSET)),
    ("account_create", Struct(fee=ASSET, creator=NAME, new_account_name=NAME, **_NEW_ACCOUNT)),
    ("account_update", Struct(account=NAME, **_CHANGED, memo_key=KEY, json_metadata=TEXT)),
    (
        "witness_update",
        Struct(owner=NAME, url=TEXT, block_signing_key=KEY, props=_CHAIN_PROPERTIES, fee=ASSET),
    ),
    ("account_witness_vote", Struct(account=NAME, witness=NAME, approve=BOOL)),
    ("account_witness_proxy", Struct(account=NAME, proxy=NAME)),
    (
        "pow",
        Struct(
            worker_account=NAME,
            block_id=ID,
            nonce=U64,
            work=Struct(worker=KEY, input=DIGEST, signature=SIGNATURE, work=DIGEST),
            props=_CHAIN_PROPERTIES,
        ),
    ),
    ("custom", Struct(required_auths=_NAMES, id=U16, data=BYTES)),
    ("witness_block_approve", Struct(witness=NAME, block_id=ID)),
    ("delete_comment", Struct(author=NAME, permlink=TEXT)),
    ("custom_json", Struct(required_auths=_NAMES, required_posting_auths=_NAMES, id=_CUSTOM_ID, json=TEXT)),
    (
        "comment_options",
        Struct(
            author=NAME,
            permlink=TEXT,
            max_accepted_payout=ASSET,
            percent_hbd=U16,
            allow_votes=BOOL,
            allow_curation_rewards=BOOL,
            extensions=VariantSet(StaticVariant(("comment_payout_beneficiaries", _BENEFICIARIES))),
        ),
    ),
    ("set_withdraw_vesting_route", Struct(from_account=NAME, to_account=NAME, percent=U16, auto_vest=BOOL)),
    (
        "limit_order_create2",
        Struct(
            owner=NAME,
            orderid=U32,
            amount_to_sell=ASSET,
            exchange_rate=_PRICE,
            fill_or_kill=BOOL,
            expiration=TIME,
        ),
    ),
    ("claim_account", Struct(creator=NAME, fee=ASSET, extensions=FUTURE_EXTENSIONS)),
    (
        "create_claimed_account",
        Struct(creator=NAME, new_account_name=NAME, **_NEW_ACCOUNT, extensions=FUTURE_EXTENSIONS),
    ),
    (
        "request_account_recovery",
        Struct(
            recovery_account=NAME,
            account_to_recover=NAME,
            new_owner_authority=AUTHORITY,
            extensions=FUTURE_EXTENSIONS,
        ),
    ),
    (
        "recover_account",
        Struct(
            account_to_recover=NAME,
            new_owner_authority=AUTHORITY,
            recent_owner_authority=AUTHORITY,
            extensions=FUTURE_EXTENSIONS,
        ),
    ),
    (
        "change_recovery_account",
        Struct(account_to_recover=NAME, new_recovery_account=NAME, extensions=FUTURE_EXTENSIONS),
    ),
    (
        "escrow_transfer",
        Struct(
            **{
                "from": NAME,
                "to": NAME,
                "hbd_amount": ASSET,
                "hive_amount": ASSET,
                "escrow_id": U32,
                "agent": NAME,
                "fee": ASSET,
                "json_meta": TEXT,
                "ratification_deadline": TIME,
                "escrow_expiration": TIME,
            }
        ),
    ),
    ("escrow_dispute", Struct(**_ESCROW, escrow_id=U32)),
    ("escrow_release", Struct(**_ESCROW, receiver=NAME, escrow_id=U32, hbd_amount=ASSET, hive_amount=ASSET)),
    ("pow2", Struct(work=_POW2_WORK, new_owner_key=Optional(KEY), props=_CHAIN_PROPERTIES)),
    ("escrow_approve", Struct(**_ESCROW, escrow_id=U32, approve=BOOL)),
    ("transfer_to_savings", Struct(**{"from": NAME, "to": NAME, "amount": ASSET, "memo": TEXT})),
    (
        "transfer_from_savings",
        Struct(**{"from": NAME, "request_id": U32, "to": NAME, "amount": ASSET, "memo": TEXT}),
    ),
    ("cancel_transfer_from_savings", Struct(**{"from": NAME, "request_id": U32})),
    (
        "custom_binary",
        Struct(
            required_owner_auths=_NAMES,
            required_active_auths=_NAMES,
            required_posting_auths=_NAMES,
            required_auths=Vector(AUTHORITY),
            id=_CUSTOM_ID,
            data=BYTES,
        ),
    ),
    ("decline_voting_rights", Struct(account=NAME, decline=BOOL)),
    ("reset_account", Struct(reset_account=NAME, account_to_reset=NAME, new_owner_authority=AUTHORITY)),
    ("set_reset_account", Struct(account=NAME, current_reset_account=NAME, reset_account=NAME)),
    ("claim_reward_balance", Struct(account=NAME, reward_hive=ASSET, reward_hbd=ASSET, reward_vests=ASSET)),
    ("delegate_vesting_shares", Struct(delegator=NAME, delegatee=NAME, vesting_shares=ASSET)),
    (
        "account_create_with_delegation",
        Struct(
            fee=ASSET,
            delegation=ASSET,
            creator=NAME,
            new_account_name=NAME,
            **_NEW_ACCOUNT,
            extensions=FUTURE_EXTENSIONS,
        ),
    ),
    ("witness_set_properties", Struct(owner=NAME, props=Map(TEXT, BYTES), extensions=FUTURE_EXTENSIONS)),
    (
        "account_update2",
        Struct(
            account=NAME,
            **_CHANGED,
            memo_key=Optional(KEY),
            json_metadata=TEXT,
            posting_json_metadata=TEXT,
            extensions=FUTURE_EXTENSIONS,
        ),
    ),
    (
        "create_proposal",
        Struct(
            creator=NAME,
            receiver=NAME,
            start_date=TIME,
            end_date=TIME,
            daily_pay=ASSET,
            subject=TEXT,
            permlink=TEXT,
            extensions=FUTURE_EXTENSIONS,
        ),
    ),
    (
        "update_proposal_votes",
        Struct(voter=NAME, proposal_ids=Set(I64), approve=BOOL, extensions=FUTURE_EXTENSIONS),
    ),
    ("remove_proposal", Struct(proposal_owner=NAME, proposal_ids=Set(I64), extensions=FUTURE_EXTENSIONS)),
    (
        "update_proposal",
        Struct(
            proposal_id=I64,
            creator=NAME,
            daily_pay=ASSET,
            subject=TEXT,
            permlink=TEXT,
            extensions=VariantSet(StaticVariant(("void_t", None), ("update_proposal_end_date", Struct(end_date=TIME)))),
        ),
    ),
    ("collateralized_convert", Struct(owner=NAME, requestid=U32, amount=ASSET)),
    (
        "recurrent_transfer",
        Struct(
            **{
                "from": NAME,
                "to": NAME,
                "amount": ASSET,
                "memo": TEXT,
                "recurrence": U16,
                "executions": U16,
                "extensions": VariantSet(
                    StaticVariant(("void_t", None), ("recurrent_transfer_pair_id", Struct(pair_id=Int(1))))
                ),
            }
        ),
    ),
)

_BY_NAME = {name: (number, varint(number), fields) for number, (name, fields) in enumerate(TABLE)}


class Operation(msgspec.Struct, frozen=True):
    """One operation: its name without "_operation", and its fields as values of their types."""

    name: str
    value: dict[str, Any]


def active_custom_json(account: str, kind: str, json: str) -> Operation:
    """A custom_json by one account's active authority: the form of everything the group says."""
    value = {"required_auths": (account,), "required_posting_auths": (), "id": kind, "json": json}
    return Operation("custom_json", value)


def operation_name(raw: Any) -> str:
    """The name of an operation in either API form, without looking at its fields."""
    if type(raw) is dict and type(raw.get("type")) is str:
        kind: str = raw["type"]
        return kind.removesuffix("_operation")
    if type(raw) is list and len(raw) == 2 and type(raw[0]) is str:
        return raw[0]
    raise HiveDataError(f"not an operation: {str(raw)[:60]}")


def parse_operation(raw: Any, chain: Chain) -> Operation:
    """The operation of JSON in either form. Raises HiveDataError, UnknownOperationError."""
    name = operation_name(raw)
    found = _BY_NAME.get(name)
    if found is None:
        raise UnknownOperationError(f"the operation {name!r} is not known to this version")
    return Operation(name, found[2].parse(raw.get("value") if type(raw) is dict else raw[1], chain))


def pack_operation(out: bytearray, operation: Operation, symbols: Symbols) -> None:
    """Append the bytes of an operation: its number, then its fields."""
    _, number, fields = _BY_NAME[operation.name]
    out += number
    fields.pack(out, operation.value, symbols)


def unpack_operation(reader: Reader) -> Operation:
    """The operation of the next packed bytes. Raises HiveDataError, UnknownOperationError."""
    number = reader.varint()
    if number >= len(TABLE):
        raise UnknownOperationError(f"the operation number {number} is not known to this version")
    name, fields = TABLE[number]
    return Operation(name, fields.unpack(reader))


def show_operation(operation: Operation, chain: Chain, *, typed: bool) -> Any:
    """The operation as JSON of condenser_api (a pair) or, ``typed``, of block_api."""
    body = _BY_NAME[operation.name][2].show(operation.value, chain, typed)
    return {"type": operation.name + "_operation", "value": body} if typed else [operation.name, body]
