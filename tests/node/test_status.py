"""What a node says of itself: as plain values, from the state and the facts alone, in every stage of a group's life."""

import io
import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from node import attention as attention_module
from node.attention import attention, not_ready
from node.core import LIVE_WITHIN
from node.devnet.founding import GROUP, member_keys
from node.facts import Facts, ServerFacts
from node.screen import show
from node.signer.policy import Policy
from node.span import span
from node.status import MAX_SERVERS, Status, status
from node.transactions import MAX_SHOWN
from processors.hive.times import time_to_text
from state.schema import KEY, MS, NODE
from tests.node.test_core import any_state, corrupt, new_group, run_to_founded, run_to_record

GOOD = tuple(ServerFacts(f"https://{name}.example", name, "good", 98, 0.12, 0) for name in ("north", "south"))


def live(group, **fields) -> Facts:
    """The facts of a node that is live on good servers."""
    height = group.chain.irreversible_number
    facts = Facts(irreversible=height, head=height + 1, is_live=True, servers=GOOD, free_bytes=1 << 40, sealed=True)
    return replace(facts, **fields)


def of(group, name="runner02", now=None, **fields) -> Status:
    return status(group.nodes[name], live(group, **fields), now)


def names(found: Status) -> list[str]:
    return [one.name for one in attention(found)]


def screen_of(found: Status, width: int = 200) -> str:
    """The screen as plain text, ``width`` letters wide."""
    out = io.StringIO()
    Console(file=out, width=width).print(show(found))
    return out.getvalue()


# -- through a group's life


def test_before_the_state_begins_it_says_what_it_waits_for(tmp_path):
    group = new_group(tmp_path)
    found = of(group, irreversible=3)
    assert (found.height, found.block_id, found.lag, found.live) == (-1, "", 0, False)
    assert found.transactions == () and found.round.height == -1
    assert not_ready(found) == ("the state has not begun: it waits for block 20 to be irreversible",)
    assert names(found) == ["not-begun"]
    assert "waits for block 20" in screen_of(found)


def test_a_founded_group_is_well(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    group.run_until(lambda: not any(any_state(group).walk(MS)), 60)
    found = of(group)
    assert (found.account, found.group, found.genesis) == ("runner02", GROUP, group.genesis.hash.hex())
    assert found.height == any_state(group).height and found.lag == 0 and found.live
    assert found.groups_own and found.threshold == 3 and (found.members, found.runners) == (5, 5)
    assert found.round.agreed and found.round.on_own_root and found.round.mine and found.round.open_rounds == 0
    assert found.round.root == found.round.own_root == any_state(group).root(found.round.height).hex()
    assert found.seat.member and found.seat.runner and found.seat.ripe and found.seat.key_held and found.seat.signer
    assert [one.account for one in found.reports] == [f"runner{n:02}" for n in range(1, 6)]
    assert all(one.agreed and one.version == "0.1.0" for one in found.reports)
    assert not_ready(found) == () and attention(found) == ()
    assert found.ended[0].status == "confirmed" and len(found.ended[0].txid) == 40
    assert "all is well" in screen_of(found)


def test_it_is_the_same_value_after_json(tmp_path):
    group = new_group(tmp_path)
    run_to_record(group, "payout")
    found = of(group)
    assert found.transactions and found.ended and found.reports and found.servers
    assert msgspec.json.decode(msgspec.json.encode(found), type=Status) == found


def test_the_own_report_goes_from_not_due_to_sent_to_on_chain(tmp_path):
    group = new_group(tmp_path)
    state = any_state(group)
    seen = []
    for _ in range(60):
        group.step()
        if state.height > 0:
            word = of(group).round.report
            seen += [word] if not seen or seen[-1] != word else []
    assert seen[:3] == ["not_due", "sent", "on_chain"] and "missing" not in seen


def test_a_report_that_is_due_and_was_not_sent_is_missing(tmp_path):
    group = new_group(tmp_path)
    group.silent.add("runner02")
    state = any_state(group)
    group.run_until(lambda: state.height == 36, 60)
    found = of(group)
    assert found.round.report == "missing" and "missed-reports" in names(found)
    assert "missed-reports" not in names(of(group, is_live=False)), "a node that is behind must not report"


# -- group transactions


def test_a_transaction_shows_who_signed_who_is_missing_and_who_may_broadcast(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    group.silent |= {"runner02", "runner05"}
    group.refuses = lambda account, item: item.content.startswith("broadcast")
    op = run_to_record(group, "payout")
    group.run_until(lambda: any_state(group).need(MS, op).status == "ready", 60)
    group.step()
    [one] = [one for one in of(group).transactions if one.op == op]
    record = any_state(group).need(MS, op)
    assert one.payloads == ("1.234 HIVE to receiver",) and one.payload_count == 1
    assert one.signed == ("runner01", "runner03", "runner04")
    assert one.missing == ("runner02", "runner05")
    assert [(role.role, role.needed, role.collected, role.missing) for role in one.roles] == [("active", 3, 3, 0)]
    assert one.due == record.order[: record.recasts + 1] and one.next_recast == record.job[0]
    assert one.age_blocks == any_state(group).height - one.built and one.age_seconds == 3 * one.age_blocks
    assert one.expires_in == record.expiration - any_state(group).head.timestamp
    assert one.mine == "waiting"
    [signed] = [one for one in of(group, "runner01").transactions if one.op == op]
    assert signed.mine == "signed" and signed.why == ""


def test_keys_of_nobody_are_named_by_themselves(tmp_path):
    group = new_group(tmp_path)
    op = run_to_record(group, "rotation")
    node = group.nodes["runner02"]
    key = member_keys(1).signing_key.public
    view = node.state.view()
    view.delete(KEY, key)
    node.state.commit(view)
    [one] = [one for one in of(group).transactions if one.op == op]
    assert [name[:3] for name in (*one.signed, *one.missing)] == ["TST"]
    assert one.mine == "not_needed", "the founder alone signs the first rotation"


def test_why_this_node_does_not_sign_stands_beside_the_transaction(tmp_path):
    group = new_group(tmp_path, policy=Policy(manual=True))
    op = run_to_record(group, "rotation")
    group.run(25)
    one = of(group, "runner01").transactions[0]
    assert (one.op, one.mine, one.why, one.status) == (op, "waiting", "manual", "collecting")
    told = next(told for told in attention(of(group, "runner01")) if told.name == "not-signed")
    assert one.txid == any_state(group).need(MS, op).txid.hex()
    assert told.remedy == f"look at it, then run `waggle approve {op} {one.txid}`"
    assert "waiting: manual" in screen_of(of(group, "runner01"))


def test_a_refusal_is_shown_with_its_reason(tmp_path):
    group = new_group(tmp_path, policy=Policy(allow=("rotation",)))
    run_to_founded(group)
    op = run_to_record(group, "payout")
    group.run(4)
    [one] = [one for one in of(group).transactions if one.op == op]
    assert one.status == "refused" and one.mine == "refused"
    assert [(note.account, note.why) for note in one.refusals] == [(f"runner0{n}", "not_allowed") for n in range(1, 6)]


def test_a_transaction_near_its_end_that_lacks_weight_is_pressing(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    run_to_record(group, "payout")
    group.silent |= {"runner03", "runner04", "runner05"}
    group.run_until(lambda: not any(any_state(group).walk(MS)), 60)
    silence = set(group.silent)
    group.silent -= silence  # the next tally needs them
    group.refuses = lambda account, item: account in silence and item.content.startswith("sign")
    op = run_to_record(group, "payout")
    group.run(6)
    assert "near-expiry" not in names(of(group))
    expiration = any_state(group).need(MS, op).expiration
    group.run_until(lambda: expiration - any_state(group).head.timestamp < 140, 200)
    told = next(told for told in attention(of(group)) if told.name == "near-expiry" and op in told.what)
    assert "lacks weight: 1 of 3 for active" in told.what
    assert told.remedy == "ask runner03, runner04, runner05 to sign"


def test_a_remote_signer_has_two_rounds_before_it_is_worth_a_word(tmp_path):
    group = new_group(tmp_path, policy=Policy(manual=True))
    run_to_record(group, "rotation")
    group.run(4)
    found = of(group, "runner01")
    length = group.genesis.params.round_length
    assert (found.transactions[0].mine, found.round_length) == ("waiting", length)

    def named(signer, age):
        return "not-signed" in names(
            replace(found, signer=signer, transactions=(replace(found.transactions[0], age_blocks=age),))
        )

    assert (named("local", 19), named("local", 20)) == (False, True)
    for signer in ("remote", "unreachable"):
        assert (named(signer, 2 * length + 39), named(signer, 2 * length + 40)) == (False, True)


def test_every_reason_to_hold_a_signature_has_its_remedy(tmp_path):
    group = new_group(tmp_path, policy=Policy(manual=True))
    op = run_to_record(group, "rotation")
    group.run(25)
    found = of(group, "runner01")
    folder = Path(attention_module.__file__).parent
    source = "".join(path.read_text() for path in (*folder.glob("*.py"), *folder.glob("signer/*.py")))
    reasons = set(re.findall(r'Verdict\(\s*"hold", "([a-z_]+)"', source))
    assert {"not_agreed_yet", "own_word", "not_wanted", "young_journal"} < reasons
    for why in reasons:
        shown = replace(found, transactions=(replace(found.transactions[0], why=why),))
        told = next(told for told in attention(shown) if told.name == "not-signed")
        assert told.remedy != "read the log lines of this transaction", why
    shown = replace(
        found, signer="remote", transactions=(replace(found.transactions[0], why="own_word", age_blocks=999),)
    )
    told = next(told for told in attention(shown) if told.name == "not-signed")
    assert f"`waggle approve {op} {found.transactions[0].txid}` where the signer runs, with its" in told.remedy


# -- the journal's age


def test_a_journal_that_is_held_says_until_when_and_the_two_ways_out(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    well = of(group)
    assert (well.journal_held, well.journal_held_until) == (False, 0)
    node = group.nodes["runner02"]
    until = node.state.head.timestamp + 3_700
    node._signer._journal.begin(node.state.height, node.state.head.timestamp, until)
    found = of(group)
    assert (found.journal_held, found.journal_held_until) == (True, until), "no transaction need be waiting for it"
    [told] = attention(found)
    assert told.name == "journal-held" and f"{time_to_text(until)} UTC, in 1 h 1 min" in told.what
    assert told.remedy.startswith("wait, or,") and "`waggle journal confirm`" in told.remedy
    [told] = attention(replace(found, signer="remote"))
    assert "where the signer runs" in told.remedy
    assert attention(replace(found, journal_held=None, journal_held_until=None)) == (), "not known is no alarm"


# -- what is wrong


def test_a_halted_node_says_so_and_is_not_ready(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    corrupt(group.nodes["runner04"])
    group.run_until(lambda: group.nodes["runner04"].halted_at is not None, 60)
    found = of(group, "runner04")
    assert not_ready(found)[0].startswith("halted: the group agreed on another root")
    assert names(found)[0] == "diverged"
    assert "HALTED" in screen_of(found)
    assert not_ready(of(group, "runner02")) == ()


@pytest.mark.parametrize(("behind", "ready"), [(0, True), (LIVE_WITHIN, True), (LIVE_WITHIN + 1, False)])
def test_a_node_that_is_behind_is_not_ready(tmp_path, behind, ready):
    group = new_group(tmp_path)
    run_to_founded(group)
    found = of(group, irreversible=any_state(group).height + behind)
    assert found.lag == behind and found.seconds_behind == 3 * behind
    assert (not_ready(found) == ()) == ready and ("lag" not in names(found)) == ready


def test_why_a_node_is_not_live_is_said_as_it_is(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    height = any_state(group).height

    def why(**fields):
        found = of(group, is_live=False, **fields)
        [told] = attention(found)
        assert not_ready(found) == (told.what,)
        return told.what

    assert why(irreversible=0) == "not live: no server has said where the chain is"
    assert why(irreversible=height + 500) == "not live: catching up, 500 blocks behind (at most 20 are live)"
    assert why() == "not live: it has the newest irreversible block, and acts from the next one on"
    assert why(irreversible=height + 3) == "not live: 3 blocks behind, and acts from the next one on"


def test_seconds_behind_are_those_of_the_clock_where_there_is_one(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    timestamp = any_state(group).head.timestamp
    assert of(group, now=timestamp + 77).seconds_behind == 77
    assert of(group, now=timestamp - 5).seconds_behind == 0, "a clock that is behind the chain's"


def test_open_rounds_need_attention(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    group.silent |= {"runner03", "runner04", "runner05"}
    group.run_until(lambda: of(group).round.open_rounds >= 2, 90)
    found = of(group)
    assert not found.round.agreed and not found.round.on_own_root
    assert "open-rounds" in names(found) and "the last tally did not agree on a root" in not_ready(found)
    assert [one.account for one in found.reports if one.agreed] == []


def test_who_is_no_member_and_who_lacks_the_key_are_told_what_to_do(tmp_path):
    group = new_group(tmp_path)
    group.join(member_keys(6))
    run_to_founded(group)
    stranger = of(group, "runner06")
    assert (stranger.seat.member, stranger.round.report) == (False, "not_member")
    assert names(stranger) == ["not-member"]
    node = group.nodes["runner02"]
    view = node.state.view()
    view.put(NODE, replace(node.state.need(NODE, "runner02"), signing_key=bytes(33)), "runner02")
    node.state.commit(view)
    found = of(group)
    assert not found.seat.key_held and not found.seat.ripe
    assert "key-missing" in names(found)


SURROUNDINGS = {
    "signer": {"signer": "unreachable"},
    "disk": {"free_bytes": 1 << 20},
    "resource-credits": {"resource_credits": 3},
    "api-servers": {"servers": (GOOD[0], replace(GOOD[1], standing="banned", why="lied"))},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_what_is_wrong_around_the_node(tmp_path, name):
    group = new_group(tmp_path)
    run_to_founded(group)
    assert name not in names(of(group))
    assert names(of(group, **SURROUNDINGS[name])) == [name]


def test_two_servers_of_one_operator_are_one(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    assert names(of(group, servers=(GOOD[0], replace(GOOD[1], operator="north")))) == ["api-servers"]


def test_an_account_that_is_not_sealed_says_whose_it_is(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    assert "NOT sealed: the founder can take the account back" in screen_of(of(group, sealed=False))
    assert "not known yet" in screen_of(of(group, sealed=None))


def test_of_many_runners_the_screen_names_those_that_are_not_as_most(tmp_path):
    group = new_group(tmp_path)
    run_to_founded(group)
    found = of(group)
    assert "5 of 5 runners agreed in the last round, most run 0.1.0" in screen_of(found)
    assert "runner05" not in screen_of(found)
    many = tuple(replace(found.reports[0], account=f"late{n:02}", agreed=False, missed=n) for n in range(25))
    shown = screen_of(replace(found, reports=found.reports * 6 + many))
    assert "30 of 55 runners agreed" in shown and "late09" in shown and "late10" not in shown and "and 15 more" in shown


def test_in_80_letters_no_id_and_no_address_is_cut_and_nothing_is_left_out(tmp_path):
    group = new_group(tmp_path, policy=Policy(manual=True))
    run_to_record(group, "rotation")
    group.run(25)
    why = "block 101000000 is not what its id says: " + "it gave something else " * 8
    url = "https://api.with-a-long-name.example.org:8091"
    servers = (replace(GOOD[0], url=url, standing="banned", operator="blocktrades", why=why), GOOD[1])
    found = of(group, "runner01", servers=servers)
    op = "101000000:61450:3735928559"
    found = replace(found, transactions=(replace(found.transactions[0], op=op, missing=("a" * 16, "b" * 16)),))
    shown = screen_of(found, 80)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in shown
    assert any(line.startswith(op) for line in lines) and any(line.startswith(url) for line in lines)
    assert why.strip() in " ".join(shown.split())
    for heading in ("group transactions: 1 out, 0 waiting", "reports", "API servers", "what needs you"):
        assert heading in [line.strip() for line in lines]


# -- bounds


def test_lists_are_bounded(tmp_path):
    payouts = [{"to": "receiver", "amount": 1, "asset": "HBD", "every": 20, "memo": str(n)} for n in range(60)]
    group = new_group(tmp_path, payouts=payouts, parameters={"max_merge": 60, "payload_lifetime": 600})
    group.silent |= set(group.nodes) - {"runner01"}
    run_to_record(group, "payout")
    found = of(group, servers=GOOD * 40)
    assert len(found.servers) == MAX_SERVERS
    [one] = [one for one in found.transactions if one.kind == "payout"][:1]
    assert one.payload_count == 60 and len(one.payloads) == len(one.numbers) == MAX_SHOWN
    assert one.payloads[0] == "0.001 HBD to receiver"


def test_a_span_of_time_in_two_units():
    assert [span(n) for n in (0, 59, 61, 3_700, 90_061)] == ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
