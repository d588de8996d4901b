"""Every operation that a proposal can hold: a good form, and what breaks it field by field."""

from typing import Any

from node.devnet.founding import GROUP

Fields = dict[str, Any]

GOOD: dict[str, Fields] = {
    "transfer": {"from": GROUP, "to": "receiver", "amount": "1.000 TESTS", "memo": "für Bob"},
    "transfer_to_savings": {"from": GROUP, "to": "receiver", "amount": "0.001 TBD", "memo": ""},
    "transfer_from_savings": {"from": GROUP, "request_id": 0, "to": GROUP, "amount": "1.000 TBD", "memo": ""},
    "delegate_vesting_shares": {"delegator": GROUP, "delegatee": "receiver", "vesting_shares": "1.000000 VESTS"},
    "account_witness_vote": {"account": GROUP, "witness": "witness", "approve": True},
    "account_witness_proxy": {"account": GROUP, "proxy": "receiver"},
    "update_proposal_votes": {"voter": GROUP, "proposal_ids": [0, 7], "approve": False, "extensions": []},
    "recurrent_transfer": {
        "from": GROUP, "to": "receiver", "amount": "1.000 TESTS", "memo": "", "recurrence": 24, "executions": 2,
        "extensions": [],
    },
    "custom_json": {"required_auths": [GROUP], "required_posting_auths": [], "id": "game", "json": '{"a":[1,"b"]}'},
}  # fmt: skip

#: at the edge of what is allowed
ALSO_GOOD: list[tuple[str, Fields]] = [
    ("transfer", {"memo": "é" * 256}),
    ("transfer", {"amount": "9007199254740.992 TESTS"}),
    ("transfer", {"amount": "0.001 TBD"}),
    ("transfer_to_savings", {"to": GROUP, "amount": "9007199254740.992 TESTS"}),
    ("transfer_from_savings", {"to": "receiver"}),
    ("delegate_vesting_shares", {"vesting_shares": "0.000000 VESTS"}),
    ("delegate_vesting_shares", {"vesting_shares": "9007199254.740992 VESTS"}),
    ("account_witness_vote", {"approve": False}),
    ("account_witness_vote", {"witness": GROUP}),
    ("account_witness_proxy", {"proxy": ""}),
    ("update_proposal_votes", {"proposal_ids": [0, 1, 2, 3, 2**31 - 1]}),
    ("recurrent_transfer", {"amount": "0.000 TESTS"}),
    ("recurrent_transfer", {"recurrence": 8_760}),
    ("recurrent_transfer", {"executions": 730}),
    ("custom_json", {"id": "x" * 32}),
    ("custom_json", {"id": "waggl"}),
    ("custom_json", {"json": "{}"}),
]

_NAMES: list[Any] = ["", "Bob", "bo", "b" * 17, "b_b", None, 7, ["receiver"]]
_MEMOS: list[Any] = [None, 7, "é" * 256 + "a"]
_SHAPES: list[Any] = [
    None, 1, "", "1", "1.000", "1.000TESTS", "1.000  TESTS", "1.0 TESTS", "1.0000 TESTS", "1 TESTS", "1,000 TESTS",
    "01.000 TESTS", "+1.000 TESTS", "1e3 TESTS", "1.000 tests", "1.000 HIVE", "1.000 HBD", "1.000 TЕSTS",
    " 1.000 TESTS",
    "1.000 TESTS ", "9223372036854775.808 TESTS", {"amount": "1000", "precision": 3, "nai": "@@000000021"},
    ["1.000", "TESTS"],
]  # fmt: skip
_LIQUID = [*_SHAPES, "-1.000 TESTS", "1.000000 VESTS", "1.000 VESTS", "9007199254740.993 TESTS"]
_POSITIVE = [*_LIQUID, "0.000 TESTS", "-0.000 TESTS"]
_FLAGS: list[Any] = [1, 0, "true", None]
_EXTENSIONS: list[Any] = [None, {}, "", [[]], [["recurrent_transfer_pair_id", {"pair_id": 1}]], [[1, {"pair_id": 1}]]]

BROKEN: dict[str, dict[str, list[Any]]] = {
    "transfer": {"from": ["receiver", [GROUP]], "to": [*_NAMES, GROUP], "amount": _POSITIVE, "memo": _MEMOS},
    "transfer_to_savings": {"from": ["receiver", ""], "to": _NAMES, "amount": _POSITIVE, "memo": _MEMOS},
    "transfer_from_savings": {
        "from": ["receiver", ""],
        "request_id": [1, -1, 2**32 - 1, False, "0", None],
        "to": _NAMES,
        "amount": _POSITIVE,
        "memo": _MEMOS,
    },
    "delegate_vesting_shares": {
        "delegator": ["receiver"],
        "delegatee": [*_NAMES, GROUP],
        "vesting_shares": [None, "1.000 TESTS", "-0.000001 VESTS", "1.000 VESTS", "9007199254.740993 VESTS"],
    },
    "account_witness_vote": {"account": ["receiver"], "witness": _NAMES, "approve": _FLAGS},
    "account_witness_proxy": {"account": ["receiver"], "proxy": [*_NAMES[1:], GROUP]},
    "update_proposal_votes": {
        "voter": ["receiver"],
        "proposal_ids": [
            None, 1, [], [2, 1], [1, 1], [1, 2, 3, 4, 5, 6], [-1], [2**31], [2**63 - 1], ["1"], [True], [None],
            {"0": 1}, "12",
        ],
        "approve": _FLAGS,
        "extensions": [None, {}, [[]], [1]],
    },
    "recurrent_transfer": {
        "from": ["receiver"],
        "to": [*_NAMES, GROUP],
        "amount": _LIQUID,
        "memo": _MEMOS,
        "recurrence": [0, 23, -24, 8_761, 65_536, "24", True, None],
        "executions": [0, 1, -2, 731, 65_536, "2", None],
        "extensions": _EXTENSIONS,
    },
    "custom_json": {
        "required_auths": [None, GROUP, [], ["receiver"], [GROUP, "receiver"], [GROUP, GROUP], [[GROUP]]],
        "required_posting_auths": [None, [GROUP], ["receiver"], ""],
        "id": ["", None, 7, "x" * 33, "é" * 17, "waggle_", "waggle_vote", "waggle_ms_signed", "waggle_x"],
        "json": [
            None, {}, "", "[]", "1", "null", "{", '{"a":1.0}', '{"a":1e3}', '{"a":1,"a":2}', '{"a":NaN}', "{}x",
            '{"a":"\\u0007"}', '{"a":' + "[" * 8 + "]" * 8 + "}", '{"a":9223372036854775808}', '{"a":"\\ud800"}',
        ],
    },
}  # fmt: skip
