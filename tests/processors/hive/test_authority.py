"""hived's authority check: weights, depth 2, roles, and the rules before and since hardfork 28."""

import pytest

from processors.hive.authority import required_authorities, verify_authority
from processors.hive.chain import MAINNET
from processors.hive.errors import AuthorityError
from processors.hive.operations import parse_operation
from processors.hive.types import Authority

K = [bytes([2]) + bytes([n]) * 32 for n in range(60)]


def keys(threshold, *indices, weight=1, accounts=()):
    return Authority(threshold, tuple((name, 1) for name in accounts), tuple((K[i], weight) for i in indices))


WORLD = {
    "alice": {"owner": keys(1, 0), "active": keys(1, 1), "posting": keys(1, 2)},
    "group": {"owner": keys(2, 10, 11, 12), "active": keys(2, 10, 11, 12), "posting": keys(1, 10)},
    "child": {
        "owner": keys(1, 20),
        "active": keys(1, accounts=("alice",)),
        "posting": keys(1, accounts=("alice",)),
    },
    "grand": {"owner": keys(1, 21), "active": keys(1, accounts=("child",)), "posting": keys(1, 21)},
    "great": {"owner": keys(1, 22), "active": keys(1, accounts=("grand",)), "posting": keys(1, 22)},
    "forty": {"owner": keys(40, *range(40)), "active": keys(27, *range(40)), "posting": keys(1, 0)},
    "nobody": {"owner": keys(3, 1, 2), "active": keys(0), "posting": keys(1)},
}


def check(operations, signers, rules=28):
    required = required_authorities([parse_operation(raw, MAINNET) for raw in operations])
    verify_authority(required, {K[i] for i in signers}, lambda role, name: WORLD[name][role], rules=rules)


def custom(active=(), posting=()):
    return [
        "custom_json",
        {"required_auths": list(active), "required_posting_auths": list(posting), "id": "x", "json": "{}"},
    ]


def update(name, owner=False):
    null = "STM1111111111111111111111111111111114T1Anm"
    authority = {"weight_threshold": 1, "account_auths": [], "key_auths": []}
    body = {"account": name, "active": authority, "memo_key": null, "json_metadata": ""}
    return ["account_update", {**body, "owner": authority} if owner else body]


OK, ACTIVE, OWNER, POSTING = (
    None,
    "tx_missing_active_auth",
    "tx_missing_owner_auth",
    "tx_missing_posting_auth",
)
IRRELEVANT, COMBINED = "tx_irrelevant_sig", "tx_combined_auths_with_posting"


@pytest.mark.parametrize(
    "operations, signers, since28, before28",
    [
        ([custom(["alice"])], [1], OK, OK),
        ([custom(["alice"])], [0], ACTIVE, OK),
        ([custom(["alice"])], [2], ACTIVE, ACTIVE),
        ([custom(["alice"])], [], ACTIVE, ACTIVE),
        ([custom(["alice"])], [1, 59], OK, IRRELEVANT),
        ([custom([], ["alice"])], [2], OK, OK),
        ([custom([], ["alice"])], [1], POSTING, OK),
        ([custom(["alice"], ["alice"])], [1, 2], OK, COMBINED),
        ([custom(["alice", "group"])], [1, 10, 11], OK, OK),
        ([custom(["alice", "group"])], [1, 10], ACTIVE, ACTIVE),
        ([custom(["group"])], [10], ACTIVE, ACTIVE),
        ([custom(["group"])], [10, 12], OK, OK),
        ([custom(["group"])], [10, 11, 12], OK, IRRELEVANT),
        ([custom(["child"])], [1], OK, OK),
        ([custom(["child"])], [20], ACTIVE, OK),
        ([custom(["grand"])], [1], OK, OK),
        ([custom(["great"])], [1], ACTIVE, ACTIVE),
        ([custom(["forty"])], range(26), ACTIVE, ACTIVE),
        ([custom(["forty"])], range(27), OK, OK),
        ([update("forty", owner=True)], range(40), OK, OK),
        ([update("forty", owner=True)], range(39), OWNER, OWNER),
        ([update("alice")], [1], OK, OK),
        ([update("alice")], [0], ACTIVE, OK),
        ([update("alice", owner=True)], [0], OK, OK),
        ([update("alice", owner=True)], [1], OWNER, OWNER),
        ([update("alice", owner=True), custom(["alice"])], [0, 1], OK, OK),
        ([update("group", owner=True), custom(["group"])], [10, 11], OK, OK),
        ([custom(["nobody"])], [], OK, OK),
        ([update("nobody", owner=True)], [1, 2], OWNER, OWNER),
    ],
)
def test_verdicts(operations, signers, since28, before28):
    for rules, expected in ((28, since28), (27, before28)):
        if expected is None:
            check(operations, signers, rules)
        else:
            with pytest.raises(AuthorityError) as caught:
                check(operations, signers, rules)
            assert caught.value.name == expected, rules
