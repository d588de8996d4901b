"""What a node believes of its servers, and what it does when they fail, lie or differ (protocol sections 2 and 11)."""

import asyncio
import json

import msgspec
import pytest

from node.agent import SignTransaction
from node.core import LIVE_WITHIN, ChainView, NodeCore, Outgoing
from node.devnet.founding import GROUP, found, genesis_document, member_keys, new_chain
from node.devnet.rpc import Methods
from node.devnet.watching import PARAMETERS
from node.errors import ApiError, BroadcastRefusedError, FeedError
from node.feed.servers import Servers
from node.outbox import Outbox
from node.runtime import Runtime
from node.signer.journal import Journal
from node.signer.policy import Policy
from node.signer.signer import Signer
from processors.authority_form import as_stored
from processors.hive.compounds import AUTHORITY
from processors.hive.times import time_to_text
from state.schema import AUTHORITY as AUTHORITIES
from state.state import State
from state.store import MemoryStore


class FakeApi:
    """A server of a devnet's chain without wires; ``answers`` replaces what a method would say, or raises it."""

    def __init__(self, operator, chain):
        self.url, self.operator = f"http://{operator}", operator
        self.methods = Methods(chain, chain.submit)
        self.answers = {}
        self.broadcasts = 0

    async def call(self, method, params):
        answer = self.answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(params)
        return answer if answer is not None else self.methods.call(method, params)

    async def raw(self, method, params, timeout=None):
        return msgspec.Raw(json.dumps(await self.call(method, params)).encode())

    async def broadcast(self, shown):
        self.broadcasts += 1
        answer = self.answers.get("broadcast")
        if isinstance(answer, Exception):
            raise answer


class Setting:
    """A chain of 30 blocks, a node of runner01, and two servers of different operators."""

    def __init__(self, folder):
        self.members = members = [member_keys(number) for number in range(1, 6)]
        self.chain = new_chain(members, members[0])
        for _ in range(30):
            self.chain.produce()
        self.genesis = found(genesis_document(members, start_block=20, parameters=PARAMETERS))
        self.events = []
        state = State(MemoryStore(), self.genesis.hash, round_length=20)
        signer = Signer(
            [members[0].signing_key], Journal(folder / "journal", self.genesis.hash), Policy(), self.genesis
        )
        log = lambda event, fields: self.events.append((event, fields))  # noqa: E731
        self.core = NodeCore(
            self.genesis, state, "runner01", members[0].account_key, signer, Outbox(None), "0.1.0", log
        )
        self.north, self.south = (FakeApi(name, self.chain) for name in ("north", "south"))
        self.runtime = Runtime(self.core, [self.north, self.south], log)

    def serve(self, *apis):
        """Other servers from now on."""
        self.runtime.servers._servers = list(Servers(apis, clock=lambda: 0.0))

    def turn(self):
        asyncio.run(self.runtime.turn(asyncio.Event()))

    def told(self, event):
        return [fields for name, fields in self.events if name == event]


@pytest.fixture
def setting(tmp_path, monkeypatch):
    monkeypatch.setattr("node.runtime.CONFIRM_WITHIN", 1_000)  # the tests say when somebody is asked
    return Setting(tmp_path)


def test_a_second_operator_is_asked_also_where_nothing_is_to_be_signed(setting, monkeypatch):
    """Otherwise a quiet node would follow one operator's fork until it can go back no more."""
    monkeypatch.setattr("node.runtime.CONFIRM_WITHIN", 4)
    setting.turn()
    assert setting.runtime.second.confirmed == 29
    for expected in (29, 29, 29, 29, 34):
        setting.chain.produce()
        setting.turn()
        assert setting.runtime.second.confirmed == expected


def test_it_begins_with_a_block_that_two_operators_give_alike(setting):
    setting.turn()
    assert setting.core.state.height == 29
    assert setting.told("live")


def test_it_does_not_begin_when_they_differ(setting):
    other = new_chain([member_keys(1)], member_keys(1))
    for number in range(20):
        other.produce(other.head_time + 3 + (number == 19))
    raw = other.show_block(20, typed=True)
    setting.south.answers["block_api.get_block_range"] = {"blocks": [raw]}
    with pytest.raises(FeedError, match="differ about block 20"):
        setting.turn()
    assert setting.core.state.height == -1


def test_it_does_not_begin_on_the_word_of_one_operator(setting):
    setting.serve(setting.north, FakeApi("north", setting.chain))
    with pytest.raises(FeedError, match="two servers of different operators"):
        setting.turn()


def test_a_block_that_is_not_later_than_its_predecessor_is_refused(setting):
    setting.turn()
    setting.chain.produce(setting.chain.head_time)
    setting.chain.produce()
    setting.turn()
    assert setting.core.state.height == 30
    (banned,) = setting.told("server_banned")
    assert "not later than the one before" in banned["why"]


def test_another_authority_on_chain_than_in_the_state_stops_it(setting):
    shown = setting.north.methods.accounts([GROUP], typed=True)[0]
    stranger = setting.chain.ledger.accounts["stranger"].owner
    shown["active"] = AUTHORITY.show(stranger, setting.chain.chain, True)
    for api in (setting.north, setting.south):
        api.answers["database_api.find_accounts"] = {"accounts": [shown]}
    with pytest.raises(FeedError, match="another active authority"):
        for _ in range(20):
            setting.turn()
            assert not setting.told("sent") and not setting.told("live")
            setting.chain.produce()
    assert setting.told("authority_differs")


def test_one_operator_alone_cannot_stop_it_by_showing_another_authority(setting):
    shown = setting.north.methods.accounts([GROUP], typed=True)[0]
    shown["active"] = AUTHORITY.show(setting.chain.ledger.accounts["stranger"].owner, setting.chain.chain, True)
    setting.north.answers["database_api.find_accounts"] = {"accounts": [shown]}
    for _ in range(12):
        setting.turn()
        setting.chain.produce()
    assert setting.told("live") and not setting.told("authority_differs")


def outgoing(setting):
    """Some transaction of the node's."""
    view = ChainView(30, setting.chain.head_time, 29)
    return setting.core._json("report:20", "report", {"v": 1}, view)


def send(setting):
    setting.turn()
    setting.events.clear()
    item: Outgoing = outgoing(setting)
    asyncio.run(setting.runtime._sender.send(item))
    return "report:20" in setting.core._outbox.sent


DUPLICATE = BroadcastRefusedError("Assert Exception:... Duplicate transaction check failed")
REFUSED = BroadcastRefusedError("missing required active authority")


@pytest.mark.parametrize(
    "north, south, asked, taken",
    [
        (None, None, 1, True),
        (ApiError("silence"), None, 2, True),
        (REFUSED, None, 2, True),
        (DUPLICATE, None, 2, True),
        (DUPLICATE, DUPLICATE, 2, True),
        (DUPLICATE, REFUSED, 2, True),
        (REFUSED, REFUSED, 2, False),
        (REFUSED, ApiError("silence"), 2, False),
        (ApiError("silence"), ApiError("silence"), 2, False),
    ],
)
def test_a_broadcast_goes_on_to_the_next_server(setting, north, south, asked, taken):
    setting.north.answers["broadcast"], setting.south.answers["broadcast"] = north, south
    assert send(setting) is taken
    assert setting.north.broadcasts + setting.south.broadcasts == asked
    assert bool(setting.told("refused")) == (not taken and REFUSED in (north, south))


# -- a group transaction goes only where its authority stands


def group_item(setting, roles=("active",), content="broadcast:20:7:9:25"):
    """A group transaction that was signed for ``roles``."""
    return msgspec.structs.replace(outgoing(setting), content=content, roles=roles)


def moved(setting, api, *roles):
    """At this server's head strangers hold the group account in ``roles``."""
    shown = setting.north.methods.accounts([GROUP], typed=True)[0]
    stranger = setting.chain.ledger.accounts["stranger"].owner
    for role in roles:
        shown[role] = AUTHORITY.show(stranger, setting.chain.chain, True)
    api.answers["database_api.find_accounts"] = {"accounts": [shown]}


def send_group(setting, roles=("active",)):
    """Send a group transaction; the servers that got it."""
    item = group_item(setting, roles)
    asyncio.run(setting.runtime._sender.send(item))
    return [api.operator for api in (setting.north, setting.south) if api.broadcasts]


def is_sent(setting):
    return [fields["content"] for fields in setting.told("sent")]


def test_where_nothing_has_moved_the_first_server_gets_it(setting):
    setting.turn()
    assert send_group(setting, ("owner", "active")) == ["north"]
    assert is_sent(setting) == ["broadcast:20:7:9:25"]
    assert not setting.told("held")


@pytest.mark.parametrize("role", ["owner", "active"])
def test_under_a_moved_authority_it_is_held_and_told(setting, role):
    setting.turn()
    for api in (setting.north, setting.south):
        moved(setting, api, role)
    assert send_group(setting, ("owner", "active")) == []
    assert setting.told("held") == [
        {"content": "broadcast:20:7:9:25", "authority_on_its_way": [role], "server": url}
        for url in ("http://north", "http://south")
    ]
    assert not is_sent(setting) and not setting.told("refused")


def test_every_role_that_has_moved_is_told(setting):
    setting.turn()
    moved(setting, setting.north, "owner", "active", "posting")
    send_group(setting, ("owner", "active"))
    assert [fields["authority_on_its_way"] for fields in setting.told("held")] == [["owner", "active"]]


def test_the_next_server_whose_head_agrees_gets_it(setting):
    setting.turn()
    moved(setting, setting.north, "active")
    assert send_group(setting) == ["south"]
    assert [fields["server"] for fields in setting.told("held")] == ["http://north"]
    assert is_sent(setting) == ["broadcast:20:7:9:25"]


@pytest.mark.parametrize("roles", [("owner", "posting"), ("posting",)])
def test_a_role_that_it_does_not_need_may_move(setting, roles):
    setting.turn()
    moved(setting, setting.north, *roles)
    assert send_group(setting, ("active",)) == ["north"]
    assert not setting.told("held")


def test_what_is_held_is_neither_sent_nor_refused_and_goes_out_when_the_head_agrees_again(setting):
    setting.turn()
    for api in (setting.north, setting.south):
        moved(setting, api, "active")
    for _ in range(3):
        assert send_group(setting) == []
    assert setting.core._outbox.sent == {} and setting.core._outbox.resting == {}
    del setting.north.answers["database_api.find_accounts"]
    assert send_group(setting) == ["north"]
    assert list(setting.core._outbox.sent) == ["broadcast:20:7:9:25"]


def test_its_state_is_what_counts_and_not_what_the_chain_had_before(setting):
    """When the change has become irreversible the state shows it too: then nothing is held."""
    setting.turn()
    for api in (setting.north, setting.south):
        moved(setting, api, "active")
    stranger = setting.chain.ledger.accounts["stranger"].owner
    view = setting.core.state.view()
    view.put(AUTHORITIES, as_stored(stranger), "active")
    setting.core.state.commit(view)
    assert send_group(setting) == ["north"]
    del setting.south.answers["database_api.find_accounts"]
    setting.north.answers["broadcast"] = REFUSED
    asyncio.run(setting.runtime._sender.send(group_item(setting)))
    assert setting.south.broadcasts == 0
    assert [fields["server"] for fields in setting.told("held")] == ["http://south"], "its head is behind ours"


SILENT = ApiError("http://north: database_api.find_accounts: silence")


@pytest.mark.parametrize(
    "answer",
    [SILENT, {"accounts": []}, {}, {"accounts": [{}]}, {"accounts": [{"owner": 5, "active": 5, "posting": 5}]}, 5, [5]],
    ids=["silence", "no account", "nothing", "no authority", "nonsense", "a number", "a list"],
)
def test_a_server_that_cannot_say_is_passed_over(setting, answer):
    setting.turn()
    setting.north.answers["database_api.find_accounts"] = answer
    assert send_group(setting) == ["south"]
    assert "http://north" in setting.told("api_error")[0]["error"]
    assert is_sent(setting) == ["broadcast:20:7:9:25"]


def test_where_no_server_can_say_nothing_is_sent_and_nothing_rests(setting):
    setting.turn()
    for api in (setting.north, setting.south):
        api.answers["database_api.find_accounts"] = SILENT
    assert send_group(setting) == []
    assert len(setting.told("api_error")) == 2
    assert setting.core._outbox.sent == {} and setting.core._outbox.resting == {}


def test_held_by_one_and_refused_by_the_other_it_rests(setting):
    setting.turn()
    moved(setting, setting.north, "active")
    setting.south.answers["broadcast"] = REFUSED
    assert send_group(setting) == ["south"]
    assert len(setting.told("held")) == len(setting.told("refused")) == 1
    assert list(setting.core._outbox.resting) == ["broadcast:20:7:9:25"]


@pytest.mark.parametrize("how", ["moved", "silent"])
def test_before_a_custom_json_of_ones_own_nobody_is_asked(setting, how):
    setting.turn()
    asked = []
    for api in (setting.north, setting.south):
        moved(setting, api, "owner", "active", "posting")
        answer = api.answers["database_api.find_accounts"] if how == "moved" else None
        api.answers["database_api.find_accounts"] = lambda params, answer=answer: asked.append(params) or answer
    asyncio.run(setting.runtime._sender.send(outgoing(setting)))
    assert (setting.north.broadcasts, setting.south.broadcasts, asked) == (1, 0, [])
    assert not setting.told("held")
    asyncio.run(setting.runtime._sender.send(group_item(setting)))
    assert asked == [{"accounts": [GROUP]}] * 2, "before a group transaction each server is"


FIND = "transaction_status_api.find_transaction"


def ask(setting, txid, queued=25, height=None):
    """Whether an attempt of a payload that was queued at ``queued`` is denied; asked as of ``height``."""
    state = setting.core.state
    asyncio.run(setting.runtime.second.ask_about({txid: queued}, height or state.height, state.head.timestamp))
    return setting.runtime.second.denied(txid)


def answer_find(setting, *statuses):
    for api, status in zip((setting.north, setting.south), statuses, strict=True):
        api.answers[FIND] = {"status": status} if isinstance(status, str) else status


def test_two_operators_must_deny_an_earlier_attempt(setting):
    setting.turn()
    answer_find(setting, "expired_irreversible", "expired_irreversible")
    assert ask(setting, b"\1" * 20)
    for number, other in enumerate(
        [
            "within_irreversible_block",
            "within_reversible_block",
            "within_mempool",
            "expired_reversible",
            "unknown",  # it tracks nothing, or has not come so far
            "",
            {"status": 7},
            {"state": "expired_irreversible"},
            b"7",
            [],
            ApiError("silence"),
        ]
    ):
        answer_find(setting, "expired_irreversible", other)
        assert not ask(setting, bytes([number]) * 20), other


def test_the_time_before_which_it_cannot_expire_is_told(setting):
    setting.turn()
    asked = []
    setting.north.answers[FIND] = lambda params: asked.append(params) or {"status": "expired_irreversible"}
    ask(setting, b"\1" * 20, queued=25)
    queued = time_to_text(setting.chain.block(25).header.timestamp)
    assert asked == [{"transaction_id": "01" * 20, "expiration": queued}]


def test_what_is_older_than_a_server_tracked_it_denies_by_its_chain(setting):
    """hived tracks some 53 hours: what it then calls too old is no denial, but the block that we have is one."""
    setting.turn()
    answer_find(setting, "too_old", "too_old")
    height = setting.core.state.height
    assert not ask(setting, b"\1" * 20, height=height + 1), "no block of ours since the question arose"
    assert ask(setting, b"\2" * 20)


def test_too_old_on_another_chain_denies_nothing(setting):
    setting.turn()
    answer_find(setting, "too_old", "too_old")
    fork = new_chain(setting.members, setting.members[0])
    for number in range(32):
        fork.produce(fork.head_time + 3 + 3 * (number == 25))
    theirs = Methods(fork, fork.submit)
    setting.south.answers["block_api.get_block_range"] = lambda params: theirs.call("block_api.get_block_range", params)
    height = setting.core.state.height
    assert fork.block(height).id != setting.chain.block(height).id
    assert not ask(setting, b"\1" * 20)
    del setting.south.answers["block_api.get_block_range"]
    assert ask(setting, b"\1" * 20), "asked again"


def test_a_server_says_nothing_while_it_is_behind_our_time(setting):
    """Our own feed may have jumped ahead: a server at whose time the attempt can still come denies nothing."""
    setting.turn()
    answer_find(setting, "expired_irreversible", "expired_irreversible")
    setting.south.answers["block_api.get_block_header"] = {"header": {"timestamp": "2026-01-01T00:00:03"}}
    assert not ask(setting, b"\1" * 20)
    del setting.south.answers["block_api.get_block_header"]
    assert ask(setting, b"\1" * 20), "asked again, once it has caught up"


@pytest.mark.parametrize("time", ["2106-02-07T06:28:15", "2030-01-01T00:00:00", "1970-01-01T00:00:00"])
def test_a_servers_time_cannot_make_our_transactions_unacceptable(setting, time):
    setting.turn()
    view = ChainView(2**40, {"2": 2**32 - 1, "1": 0}[time[0]], 29)
    item = setting.core._json("report:20", "report", {"v": 1}, view)
    now = setting.core.state.head.timestamp
    assert now < item.tx.expiration <= now + 3_000 + 3 * 600 + 600


# -- a journal begins at the chain's present


def test_a_journal_begins_where_two_operators_say_is_the_present(setting):
    """Under an old head it would hold its keys back too short a time."""
    says(setting, setting.south, 29 + LIVE_WITHIN + 2)
    setting.turn()
    setting.chain.produce()
    setting.turn()
    assert setting.core.begins_journal and not setting.told("live")
    assert setting.told("present_unconfirmed") == [{"height": 29}], "said once"
    del setting.south.answers["database_api.get_dynamic_global_properties"]
    setting.chain.produce()
    setting.turn()
    assert setting.told("live") and not setting.core.begins_journal


def test_two_servers_of_one_operator_are_one_voice_about_the_present(setting):
    setting.serve(setting.north, FakeApi("north", setting.chain))
    assert not asyncio.run(setting.runtime.second.is_present(1_000))


def test_of_two_servers_of_an_operator_the_newer_counts(setting):
    west = FakeApi("north", setting.chain)
    setting.serve(setting.north, west, setting.south)
    assert asyncio.run(setting.runtime.second.is_present(40))
    says(setting, west, 41)
    assert not asyncio.run(setting.runtime.second.is_present(40))


def test_a_journal_that_has_begun_needs_no_second_word_for_it(setting):
    setting.turn()
    setting.chain.produce()
    again = Runtime(setting.core, [setting.north, setting.south], lambda *told: None)
    assert not setting.core.begins_journal
    setting.south.answers["database_api.get_dynamic_global_properties"] = ApiError("silence")
    asyncio.run(again.turn(asyncio.Event()))
    assert again._going_live._is_sure


# -- a second operator has our blocks


def confirmed(setting):
    """The height up to which another operator has our blocks."""
    core = setting.core
    asyncio.run(setting.runtime.second.confirm(core.state.height, core.newest_to_sign()))
    return setting.runtime.second.confirmed


def says(setting, api, irreversible):
    properties = api.methods.call("database_api.get_dynamic_global_properties", {})
    head = max(properties["head_block_number"], irreversible)
    answer = {**properties, "head_block_number": head, "last_irreversible_block_num": irreversible}
    api.answers["database_api.get_dynamic_global_properties"] = answer


def test_blocks_count_once_another_operator_has_them_and_calls_them_irreversible(setting):
    setting.turn()
    assert setting.core.state.height == 29
    assert confirmed(setting) == 29


@pytest.mark.parametrize("behind", [1, 2, 9])
def test_a_server_that_is_always_behind_confirms_as_far_as_it_is(setting, behind):
    """Otherwise a feed that is a block ahead of everybody would stop all signing."""
    setting.turn()
    for _ in range(4):
        setting.chain.produce()
        setting.turn()
        height = setting.core.state.height
        says(setting, setting.south, height - behind)
        assert confirmed(setting) == (height - behind if height - behind >= 20 else -1)


def test_what_was_confirmed_stays_so(setting):
    setting.turn()
    assert confirmed(setting) == 29
    says(setting, setting.south, 25)
    assert confirmed(setting) == 29


def test_another_block_there_is_told_and_is_no_confirmation(setting):
    setting.turn()
    other = new_chain([member_keys(1)], member_keys(1))
    for number in range(29):
        other.produce(other.head_time + 3 + (number == 28))
    setting.south.answers["block_api.get_block_range"] = {"blocks": [other.show_block(29, typed=True)]}
    assert confirmed(setting) == -1
    (told,) = setting.told("servers_differ")
    assert told["height"] == 29 and told["own"] != told["theirs"]


def test_the_feed_cannot_confirm_itself(setting):
    setting.turn()
    setting.serve(setting.north, FakeApi("north", setting.chain))
    assert confirmed(setting) == -1


def test_a_silent_operator_confirms_nothing_and_the_next_one_may(setting):
    setting.turn()
    setting.core.newest_to_sign = lambda: 29
    setting.south.answers["database_api.get_dynamic_global_properties"] = ApiError("silence")
    assert confirmed(setting) == -1
    setting.serve(setting.north, setting.south, FakeApi("west", setting.chain))
    assert confirmed(setting) == 29


def test_after_a_restart_the_next_block_is_confirmed(setting):
    setting.turn()
    again = Runtime(setting.core, [setting.north, setting.south], lambda *told: None)
    asyncio.run(again.second.confirm(29, 29))
    assert again.second.confirmed == -1, "who called it irreversible is forgotten: the next block will tell"
    setting.chain.produce()
    asyncio.run(again.turn(asyncio.Event()))
    asyncio.run(again.second.confirm(30, 30))
    assert again.second.confirmed == 30


def test_what_was_built_later_than_is_confirmed_is_not_signed_and_it_says_so_once(setting, monkeypatch):
    setting.turn()
    signed = []
    wish = SignTransaction("31:7:9", setting.core.me.keys[0], False, 31)
    monkeypatch.setattr("node.core.wanted", lambda *args: [wish])
    setting.core.newest_to_sign = lambda: 31
    setting.core._tidy_outbox = lambda: None
    setting.core._signature = lambda *args: signed.append(args)
    says(setting, setting.south, 30)
    for _ in range(4):
        setting.chain.produce()
        setting.turn()
    assert setting.runtime.second.confirmed == 30
    assert not signed
    assert [told["why"] for told in setting.told("hold")] == ["unconfirmed"]
    says(setting, setting.south, 31)
    setting.chain.produce()
    setting.turn()
    assert len(signed) == 1
