"""The auditor finds what it is there to find: for each invariant something is broken, and that one must not hold."""

import pytest
from msgspec.structs import replace

import node.core
from node.devnet.founding import GROUP, RECEIVER, devnet_key, one_key
from node.signer import signer
from node.signer.policy import SIGN
from node.sim import audit, bounds, liveness
from node.sim.audit import Auditor, Known
from node.sim.liveness import can_be_accepted
from node.sim.outcome import Violation, demand
from node.sim.plan import SLOT_MS
from node.sim.world import World
from processors import engine, native, tally
from processors.context import drop_record, finish
from processors.hive.operations import Operation
from processors.hive.types import Asset
from state.schema import (
    BALANCE,
    COLLATERAL,
    DONE,
    MS,
    QUEUE,
    REJECTED,
    REPORT,
    ROUND,
    TALLY,
    Balance,
    Done,
    Payload,
    Rejection,
    Report,
)
from tests.sim.tiny import ROUND as LENGTH
from tests.sim.tiny import fault, payout, tiny


def told_by(plan, doctor=lambda world: None):
    """(the invariant that a run breaks, its detail); ``doctor`` may lay something on the world's clock first."""
    world = World(plan, None)
    doctor(world)
    outcome = world.run()
    return outcome.invariant, outcome.detail


def at_slot(slot, act):
    """A doctor who does ``act(world)`` in the middle of a slot."""
    return lambda world: world.clock.after(slot * SLOT_MS - SLOT_MS // 2, lambda: act(world))


@pytest.fixture
def rule(monkeypatch):
    """Adds a rule to the protocol, for everybody: ``rule(act)`` calls ``act(ctx)`` at the end of every block."""

    def add(act):
        genuine = engine._close

        def close(ctx):
            act(ctx)
            genuine(ctx)

        monkeypatch.setattr(engine, "_close", close)

    return add


@pytest.fixture
def blind(monkeypatch):
    """Lets the auditor overlook some invariants, so that the one behind them is asked."""

    def overlook(*names):
        def lenient(holds, invariant, detail):
            if invariant not in names:
                demand(holds, invariant, detail)

        for module in (audit, bounds, liveness):
            monkeypatch.setattr(module, "demand", lenient)

    return overlook


@pytest.fixture
def overheard(monkeypatch):
    """Nobody's broadcast of a group transaction reaches a server, and every node believes that it did."""
    genuine = World._submit

    def submit(self, name, tx):
        if tuple(tx.operations[-1].value.get("required_auths", ())) != (GROUP,):
            genuine(self, name, tx)

    monkeypatch.setattr(World, "_submit", submit)


def once(act):
    """``act(ctx, op, record)`` on the first payout that is out, at the same block for every replica."""
    found = []

    def rule(ctx):
        for (op,), record in list(ctx.view.walk(MS)):
            if record.kind == "payout" and (not found or found[0] == ctx.height):
                found[:] = [ctx.height]
                act(ctx, op, record)
                return

    return rule


def at_height(height, act):
    """``act(ctx)`` at one block."""
    return lambda ctx: act(ctx) if ctx.height == height else None


# -- the undoctored runs


@pytest.mark.parametrize(
    "plan",
    [tiny(), tiny(runners=4), tiny(rounds=9), tiny(rounds=9, history=100), tiny(rotate_owner=False, hive_rules=27)],
)
def test_nothing_is_found_where_nothing_is_wrong(plan):
    world = World(plan, None)
    outcome = world.run()
    assert (outcome.invariant, outcome.detail) == ("", "")
    assert outcome.counts["rotations"] >= 1
    assert outcome.counts["confirmed"] >= 4
    assert outcome.counts["open"] == outcome.counts["expiries"] == outcome.counts["failed"] == 0
    assert outcome.counts["agreed"] == plan.slots // LENGTH


def test_the_sabotage_of_no_rule_is_none(rule, blind):
    """The tools of these tests by themselves break nothing."""
    rule(lambda ctx: None)
    blind("supply")
    assert told_by(tiny(), at_slot(40, lambda world: None)) == ("", "")


# -- payloads


def build_again(ctx, op, record):
    """As if nothing had been built for the payloads of a record that is out."""
    for number in record.payloads:
        ctx.view.put(QUEUE, replace(ctx.view.need(QUEUE, number), out=""), number)


def test_a_payload_in_two_living_transactions_is_found(rule):
    rule(once(build_again))
    invariant, detail = told_by(tiny())
    assert invariant == "two_alive"
    assert "payload" in detail


def test_a_payload_built_again_after_it_was_executed_is_found(rule):
    def back_into_the_queue(ctx):
        for (number,), done in list(ctx.view.walk(DONE)):
            if done.status == "confirmed" and ctx.height == 70:
                again = Payload("payout", 0, ctx.height, RECEIVER, 10, "HIVE", "", "", ())
                ctx.view.put(QUEUE, again, number)

    rule(back_into_the_queue)
    assert told_by(tiny())[0] == "two_alive"


@pytest.fixture
def careless(monkeypatch):
    """Every node signs whatever is out, and asks nobody what became of what was signed before."""
    monkeypatch.setattr(signer, "judge", lambda *_: SIGN)
    monkeypatch.setattr(node.core.NodeCore, "questions", lambda self: {})


def test_two_signatures_for_a_payload_are_found(rule, blind, careless):
    rule(once(build_again))
    blind("two_alive", "attempts")
    invariant, detail = told_by(tiny())
    assert invariant == "signed_twice"
    assert "is not dead" in detail


def test_no_careful_node_signs_twice_whatever_the_rules_do(rule, blind):
    rule(once(build_again))
    blind("two_alive", "ends", "confirmed_late", "bounds")
    assert told_by(tiny())[0] not in ("signed_twice", "executed_twice")


def test_a_payload_that_is_executed_twice_is_found(rule, blind, careless, monkeypatch):
    rule(once(build_again))
    blind("two_alive", "attempts", "ends", "confirmed_late")
    monkeypatch.setattr(World, "signed", lambda *_: None)
    invariant, detail = told_by(tiny())
    assert invariant == "executed_twice", detail
    assert detail.startswith("payload 1 in ")


def test_a_transaction_that_is_included_after_its_record_is_gone_is_found(rule):
    def give_up(ctx):
        for (op,), record in list(ctx.view.walk(MS)):
            if record.kind == "payout" and record.ready_at == ctx.height - 1:  # on its way to Hive
                drop_record(ctx, op, record)
                for number in record.payloads:
                    finish(ctx, number, Done("failed", record.txid, ctx.height, (), "impatience"))

    rule(give_up)
    assert told_by(tiny())[0] == "confirmed_late"


def end_as(status, why):
    def end(ctx, op, record):
        drop_record(ctx, op, record)
        for number in record.payloads:
            finish(ctx, number, Done(status, record.txid, ctx.height, (), why))

    return end


def forget(ctx, op, record):
    drop_record(ctx, op, record)
    for number in record.payloads:
        ctx.view.delete(QUEUE, number)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (end_as("confirmed", ""), "but was not executed"),
        (end_as("failed", ""), "no reason"),
        (end_as("dropped", ""), "no reason"),
        (forget, "gone without an end"),
    ],
)
def test_a_payload_that_ends_otherwise_than_it_did_is_found(rule, act, words):
    rule(once(act))
    invariant, detail = told_by(tiny())
    assert invariant == "ends"
    assert words in detail


def test_a_payload_that_was_executed_and_is_called_failed_is_found(rule):
    def rewrite(ctx):
        for (number,), done in list(ctx.view.walk(DONE)):
            if done.status == "confirmed" and done.height == ctx.height:
                ctx.view.put(DONE, replace(done, status="failed", why="a lie"), number)

    rule(rewrite)
    invariant, detail = told_by(tiny())
    assert invariant == "ends"
    assert "is failed, but was executed" in detail


def test_a_payload_that_is_tried_for_ever_is_found(rule):
    rule(once(lambda ctx, op, record: [_tried(ctx, number, 2) for number in record.payloads]))
    assert told_by(tiny())[0] == "attempts"


def _tried(ctx, number, expiries):
    ctx.view.put(QUEUE, replace(ctx.view.need(QUEUE, number), expiries=expiries), number)


# -- the group account


def spend(world):
    """Whoever holds the keys pays himself."""
    value = {"from": GROUP, "to": RECEIVER, "amount": Asset(1, 0), "memo": ""}
    assert world.outside.send([Operation("transfer", value)], world.outside.enough_keys("active")) is not None


def hand_over(world, authority, known):
    txid = world.outside.change_authority(authority, owner_too=True, second=False)
    assert txid is not None
    if known:
        world.auditor.foreign.add(txid)


def test_a_transaction_of_the_group_that_no_rule_built_is_found():
    assert told_by(tiny(), at_slot(50, spend))[0] == "unknown_transaction"


def test_a_change_of_the_authority_that_nobody_planned_is_found():
    def take(world):
        hand_over(world, one_key(world.members["runner02"].signing_key.public), known=False)

    assert told_by(tiny(), at_slot(50, take))[0] == "unknown_transaction"


def test_an_authority_that_nobody_can_meet_is_found():
    def lose(world):
        hand_over(world, one_key(devnet_key("nobody's").public), known=True)

    invariant, detail = told_by(tiny(), at_slot(50, lose))
    assert invariant == "authority_lost"
    assert "asks for 1" in detail


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_a_state_with_another_authority_than_the_chain_is_found(monkeypatch, threshold):
    genuine = native._put

    def put(ctx, role, authority):
        wrong = authority._replace(weight_threshold=threshold) if role == "active" else authority
        genuine(ctx, role, wrong)

    monkeypatch.setattr(native, "_put", put)
    expected = "" if threshold == 2 else "authority"  # of three keys
    assert told_by(tiny(rounds=4))[0] == expected


def test_a_broadcast_without_the_signatures_it_needs_is_found(monkeypatch):
    genuine = node.core.group_transaction
    monkeypatch.setattr(node.core, "group_transaction", lambda *a: replace(genuine(*a), signatures=()))
    invariant, detail = told_by(tiny())
    assert invariant == "refused_for_authority"
    assert "Missing" in detail


# -- agreement


def without(*names):
    """Whose transactions reach no server from the third round on."""
    return at_slot(2 * LENGTH + 5, lambda world: world.silent.update(names))


def test_an_agreement_of_too_few_is_found(monkeypatch):
    def any_root(ctx, reports):
        return next((report.root for report in reports.values()), None)

    monkeypatch.setattr(tally, "agreed_root", any_root)
    plan = tiny(runners=4, rounds=8)
    assert told_by(plan) == ("", "")
    invariant, detail = told_by(plan, without("runner03", "runner04"))
    assert invariant == "weak_agreement"
    assert "weight 2 of 4, threshold 3" in detail


def test_an_agreement_on_a_root_that_is_not_so_is_found(monkeypatch):
    genuine = Auditor._check_tally

    def check(self, number):
        self.roots[number - LENGTH] = b"\x55" * 32
        genuine(self, number)

    monkeypatch.setattr(Auditor, "_check_tally", check)
    assert told_by(tiny())[0] == "false_agreement"


def test_a_round_of_which_nothing_is_noted_is_found(rule):
    rule(at_height(60, lambda ctx: ctx.view.delete(ROUND, 40)))
    invariant, detail = told_by(tiny())
    assert (invariant, "round 40" in detail) == ("tally", True)


# -- the state


def test_a_token_out_of_nowhere_is_found(rule):
    def mint(ctx):
        entry = ctx.view.need(COLLATERAL, "runner01")
        ctx.view.put(COLLATERAL, replace(entry, locked=entry.locked + 1), "runner01")

    rule(at_height(50, mint))
    invariant, detail = told_by(tiny())
    assert (invariant, detail) == ("supply", "3031 tokens instead of 3030")


def test_a_token_that_is_moved_is_none_out_of_nowhere(rule):
    def move(ctx):
        entry = ctx.view.need(COLLATERAL, "runner01")
        ctx.view.put(COLLATERAL, replace(entry, locked=entry.locked - 1), "runner01")
        ctx.view.put(BALANCE, Balance(11), "runner01")

    rule(at_height(50, move))
    assert told_by(tiny()) == ("", "")


OLD = 10  # a height long before


@pytest.mark.parametrize(
    ("name", "act", "changes"),
    [
        ("reports", lambda ctx: ctx.view.put(REPORT, Report(bytes(32), b"", ""), "runner01"), {}),
        ("runners", lambda ctx: None, {"max_runners": 2}),
        ("the end", lambda ctx: ctx.view.put(DONE, Done("failed", None, OLD, (), "x"), 999), {"history": 100}),
        ("a rejection", lambda ctx: ctx.view.put(REJECTED, Rejection(b"", "a", "b", "c"), OLD, 0), {"history": 100}),
        ("queue", lambda ctx: _stuff_the_queue(ctx), {"max_queue": 20}),
        ("tally", lambda ctx: ctx.view.put(TALLY, replace(ctx.view.need(TALLY), height=100)), {}),
        ("merged", lambda ctx: None, {"max_merge": 1}),
    ],
)
def test_a_state_that_grows_without_end_is_found(rule, monkeypatch, name, act, changes):
    if name in ("runners", "merged"):
        # the rules know of no such limit, the auditor does
        limits, changes = changes, {}
        monkeypatch.setattr(audit, "check_bounds", lambda *given: _with_limits(*given, limits))
    rule(at_height(140, act))
    plan = tiny(rounds=7, payouts=[payout(), payout(20)], **changes)
    invariant, detail = told_by(plan)
    assert invariant == "bounds"
    assert detail.startswith(name)


def _with_limits(state, genesis, number, limits):
    bounds.check_bounds(state, replace(genesis, params=replace(genesis.params, **limits)), number)


def _stuff_the_queue(ctx):
    for number in range(900, 1_000):
        ctx.view.put(QUEUE, Payload("payout", 0, ctx.height, RECEIVER, 1, "HIVE", "", "", ()), number)


def test_a_node_with_another_state_is_found(rule, monkeypatch):
    one = []
    genuine = node.core.apply_block

    def apply_block(state, *given, **how):
        if not one:
            one.append(state)
        one[1:] = [state is one[0]]
        genuine(state, *given, **how)
        one[1:] = [False]

    monkeypatch.setattr(node.core, "apply_block", apply_block)
    differs = {"memo": True}

    def note(ctx):
        if differs["memo"] and len(one) > 1 and one[1]:
            ctx.view.put(BALANCE, Balance(0), "nobody")

    rule(at_height(50, note))
    invariant, detail = told_by(tiny())
    assert invariant == "drift"
    assert detail.endswith("another trace at 50")
    one.clear()
    differs["memo"] = False
    assert told_by(tiny()) == ("", "")


def test_a_state_that_depends_on_more_than_the_blocks_is_found(rule, monkeypatch):
    genuine, again = Auditor.replay, []

    def replay(self):
        again.append(True)
        genuine(self)

    monkeypatch.setattr(Auditor, "replay", replay)
    rule(at_height(50, lambda ctx: ctx.view.put(BALANCE, Balance(0), "nobody") if again else None))
    assert told_by(tiny()) == ("replay", "another root at 60")


def test_a_state_that_is_not_the_same_after_a_restart_is_found(monkeypatch):
    """What was read from the store is not what was in memory: seen where the replay opens its state anew."""
    genuine = audit.open_state

    def forgetful(genesis, store):
        for key, value in list(store.iterate(b"")):
            if b"runner01" in key:
                store.write([(key, value[:-1] + b"\x01")], sync=True)
        return genuine(genesis, store)

    monkeypatch.setattr(audit, "open_state", forgetful)
    invariant, _ = told_by(tiny(rounds=13))  # 256 blocks and more
    assert invariant in ("replay", "broken")


# -- liveness


def test_a_group_that_does_not_agree_again_is_found():
    invariant, detail = told_by(tiny(rounds=9), without("runner02", "runner03"))
    assert invariant == "no_agreement"
    assert "quiet since" in detail


def test_a_group_that_is_silenced_before_the_quiet_only_is_let_off():
    def doctor(world):
        without("runner02", "runner03")(world)
        at_slot(3 * LENGTH, lambda world: world.silent.clear())(world)

    assert told_by(tiny(rounds=9), doctor) == ("", "")


SHORT = {"header_lifetime": 3 * 3 * LENGTH, "payload_lifetime": 3 * 3 * LENGTH, "rotation_lifetime": 3 * 3 * LENGTH}


def test_a_payout_that_waits_too_long_is_found(overheard):
    invariant, detail = told_by(tiny(rounds=12, max_attempts=5, **SHORT))
    assert invariant == "not_paid"
    assert "at most 120" in detail


def test_a_payout_that_is_given_up_is_found(overheard):
    plan = tiny(rounds=8, max_attempts=1, max_merge=1, **SHORT)
    invariant, detail = told_by(plan)
    assert invariant == "given_up"
    assert "nothing stood in its way" in detail


def test_a_payout_that_hive_never_takes_may_be_given_up():
    never = [payout(2_000_000_000, every=3 * LENGTH)]
    plan = tiny(rounds=9, payouts=never, max_attempts=1, max_merge=1, **SHORT)
    world = World(plan, None)
    assert world.run().invariant == ""
    assert world.auditor.counts["failed"] >= 1


LAST = 6 * LENGTH - 10


def one_of(world):
    return world.machines["runner02"]


def halt_for_good(machine):
    """It was tried already whether other blocks help."""
    machine.core.halted_at = machine.runtime.healing._tried = 60


def mislead_for_good(machine, world):
    """No true block comes after the false one."""
    machine.is_misled = True
    world.judge._compare = lambda machine, block: None


@pytest.mark.parametrize(
    ("invariant", "act"),
    [
        ("not_up", lambda world: one_of(world).stop()),
        ("behind", lambda world: setattr(one_of(world), "paused_until", 10**9)),
        ("misled", lambda world: mislead_for_good(one_of(world), world)),
        ("halted", lambda world: halt_for_good(one_of(world))),
    ],
)
def test_a_node_that_is_not_well_at_the_end_is_found(invariant, act):
    found, detail = told_by(tiny(), at_slot(LAST, act))
    assert found == invariant
    assert detail.startswith("runner02")


def test_a_machine_that_is_gone_need_not_be_well():
    assert told_by(tiny(), at_slot(LAST, lambda world: one_of(world).leave())) == ("", "")


def test_a_node_that_halts_alone_is_found(monkeypatch):
    genuine, calls = node.core.differs_from_agreed, []

    def differs(state, params):
        calls.append(state)
        return 20 if len(calls) == 4 else genuine(state, params)

    monkeypatch.setattr(node.core, "differs_from_agreed", differs)
    invariant, detail = told_by(tiny())
    assert invariant == "halted"
    assert "differs from what was agreed" in detail


def test_a_node_that_was_misled_may_halt(monkeypatch):
    genuine, calls = node.core.differs_from_agreed, []

    def differs(state, params):
        calls.append(state)
        return 20 if len(calls) == 4 else genuine(state, params)

    def mislead(world):
        for name, machine in world.machines.items():
            world.network.reads_ahead[name] = machine.source

    monkeypatch.setattr(node.core, "differs_from_agreed", differs)
    world = World(tiny(), None)
    at_slot(5, mislead)(world)
    assert world.run().invariant == ""
    assert any(line.endswith("wiped") for line in world.timeline)


def test_what_is_small_and_goes_to_the_receiver_can_be_accepted():
    paid = Payload("payout", 0, 1, RECEIVER, 10, "HIVE", "", "", ())
    assert can_be_accepted(paid)
    assert not can_be_accepted(replace(paid, to="nobody-at-all"))
    assert not can_be_accepted(replace(paid, amount=2_000_000_000))


# -- what is demanded


def test_a_violation_names_its_invariant():
    demand(True, "supply", "x")
    with pytest.raises(Violation, match="supply: two tokens") as caught:
        demand(False, "supply", "two tokens")
    assert (caught.value.invariant, caught.value.detail) == ("supply", "two tokens")


def test_the_auditor_remembers_every_group_transaction():
    world = World(tiny(), None)
    world.run()
    assert {known.kind for known in world.auditor.known.values()} == {"rotation", "payout"}
    assert all(type(known) is Known for known in world.auditor.known.values())
    assert set(world.auditor.known) <= set(world.chain.included) | {r.txid for _, r in world.auditor.state.walk(MS)}


def test_faults_of_the_plan_alone_break_nothing():
    plan = tiny(
        fault("account_update", 30, n=0),
        fault("pause", 30, 50, who="runner02"),
        fault("gap", 10, 59, who="runner03"),
        fault("kill_mid_write", 20, who="runner01"),
    )
    assert told_by(plan) == ("", "")
