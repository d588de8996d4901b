"""Sealed or not, resource credits, authorities: of answers as hived gives them, and of what nobody should answer."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.account_facts import (
    RECOVERY_SECONDS,
    REGENERATION_SECONDS,
    Sealing,
    authority_of,
    can_act_alone,
    find_account,
    find_credits,
    resource_credits,
    sealing,
)
from node.devnet.founding import CHAIN
from node.errors import ApiError
from node.feed.rpc import Api
from state.schema import Authority
from tests.node.hive_at_home import hive

CHANGED = 1_700_000_000
ACCOUNT = {"name": "g", "recovery_account": "null", "last_owner_update": "2023-11-14T22:13:20"}

# -- sealed


@pytest.mark.parametrize("recovery", ["null", "g"])
def test_an_account_is_sealed_30_days_after_owner_changed_last(recovery):
    account = {**ACCOUNT, "recovery_account": recovery}
    at = CHANGED + RECOVERY_SECONDS
    before, then = sealing(account, at - 1), sealing(account, at)
    assert (before.sealed, before.sealed_at) == (False, at)
    assert (then.sealed, then.sealed_at, then.recovery_account) == (True, 0, recovery)


@pytest.mark.parametrize("recovery", ["", "founder", "steem"])
def test_while_another_can_recover_it_it_is_never_sealed(recovery):
    found = sealing({**ACCOUNT, "recovery_account": recovery}, 1 << 33)
    assert (found.sealed, found.sealed_at) == (False, 0)
    assert (recovery or "the witness with most votes") in found.why


def test_while_owner_is_not_the_groups_own_it_is_never_sealed():
    assert sealing(ACCOUNT, 1 << 33, groups_own=False).sealed is False


def test_what_the_state_knows_counts_more_than_the_last_change():
    found = sealing(ACCOUNT, CHANGED + 100, since=CHANGED + 100 - RECOVERY_SECONDS)
    assert found.sealed is True


@pytest.mark.parametrize(
    "account",
    [
        {},
        {**ACCOUNT, "recovery_account": None},
        {**ACCOUNT, "name": 5},
        {**ACCOUNT, "last_owner_update": 5},
        {**ACCOUNT, "last_owner_update": "soon"},
    ],
)
def test_an_account_that_says_too_little_is_not_called_anything(account):
    assert sealing(account, 1 << 33).sealed is None


@given(st.dictionaries(st.sampled_from(sorted(ACCOUNT)), st.text() | st.integers() | st.none() | st.lists(st.none())))
def test_whatever_a_server_says_of_an_account(account):
    assert isinstance(sealing({**ACCOUNT, **account}, CHANGED), Sealing)


# -- resource credits


def bar(current, most=1000, then=0):
    return {"rc_manabar": {"current_mana": current, "last_update_time": then}, "max_rc": most}


@pytest.mark.parametrize(
    ("entry", "now", "percent"),
    [
        (bar(0), 0, 0),
        (bar(1000), 0, 100),
        (bar("500", "1000"), 0, 50),
        (bar(0), REGENERATION_SECONDS // 2, 50),
        (bar(500), REGENERATION_SECONDS, 100),
        (bar(0, then=100), 0, 0),
        (bar(5, 0), 10, 0),
        (bar(10**18, 10**18), 0, 100),
        (bar(2000), 0, 100),
    ],
)
def test_credits_come_back_evenly_over_five_days(entry, now, percent):
    assert resource_credits(entry, now) == percent


@pytest.mark.parametrize(
    "entry",
    [{}, {"rc_manabar": 5}, bar(-1), bar(True), bar(1.5), bar("x"), bar("9" * 30), bar(1, None), bar(1, 1 << 64)],
)
def test_what_is_no_entry_says_nothing(entry):
    assert resource_credits(entry, 0) is None


@given(st.integers(0, 10**19), st.integers(0, 10**19), st.integers(0, 2**32), st.integers(0, 2**32))
def test_credits_are_a_percentage(current, most, then, now):
    assert 0 <= resource_credits(bar(current, most, then), now) <= 100


# -- authorities


def test_keys_act_alone_when_they_meet_the_threshold():
    two = Authority(2, ((b"a", 1), (b"b", 1)), ())
    assert can_act_alone(two, [b"a", b"b"]) and not can_act_alone(two, [b"a"])
    assert not can_act_alone(Authority(0, ((b"a", 1),), ()), [b"a"]), "a threshold of 0 is nothing to rely on"


@pytest.mark.parametrize(
    "authority", [None, 5, {}, {"weight_threshold": "x"}, {"weight_threshold": 1, "key_auths": [5]}]
)
def test_an_authority_that_is_none(authority):
    with pytest.raises(ApiError):
        authority_of({"name": "a", "active": authority}, "active", CHAIN)
    with pytest.raises(ApiError):
        authority_of({}, "active", CHAIN)


# -- asking


class Answering:
    def __init__(self, answer):
        self.answer = answer

    async def post(self, url, body, client, timeout):
        yield self.answer


@pytest.mark.parametrize(
    "answer",
    [
        b'{"result": {"accounts": []}}',
        b'{"result": {"accounts": [{"name": "other"}]}}',
        b'{"result": {"accounts": [5]}}',
        b'{"result": {"accounts": {}}}',
        b'{"result": [{"name": "me"}]}',
        b'{"result": null}',
        b'{"result": {"accounts": [{"name": "me"}, {"name": "me"}]}}',
        b"{",
        b"[" * 100_000,
    ],
)
def test_an_answer_about_somebody_else_or_nobody_is_an_error(answer):
    with pytest.raises(ApiError, match="http://x"):
        asyncio.run(find_account(Api("http://x", "o", Answering(answer), "me"), "me"))


def test_a_devnet_answers(monkeypatch):
    with hive(monkeypatch, clock=False) as found:

        async def ask():
            import aiohttp

            from node.feed.http import Http

            async with aiohttp.ClientSession() as session:
                api = Api(found.urls[0], "north", Http(session), "me")
                return await find_account(api, "the-group"), await find_credits(api, "newcomer")

        account, credits = asyncio.run(ask())
    assert sealing(account, found.chain.head_time).recovery_account == "runner01"
    assert resource_credits(credits, found.chain.head_time) == 100
