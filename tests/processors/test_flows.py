"""The rules together: a small group on virtual time, from the founder's key to its end."""

from pathlib import Path
from typing import Any

import pytest

from node.devnet.founding import RECEIVER, found, genesis_document, member_keys, new_chain
from node.devnet.group import VirtualGroup
from processors.authority import strict
from state.schema import AUTHORITY, DONE, MS, QUEUE, RUNNER, TALLY, Done
from state.state import State

MEMBERS = [member_keys(number) for number in range(1, 6)]
QUICK = {
    "round_length": 20,
    "report_at": 10,
    "recast_every": 5,
    "header_min_left": 30,
    "rotation_lifetime": 90,
    "payload_lifetime": 90,
    "ripe_rounds": 2,
    "max_attempts": 3,
    "absent_rounds": 50,
}


class Group:
    """Five members on a chain of their own; the first founded the group."""

    def __init__(self, folder: Path, **given: Any) -> None:
        payout = {"to": RECEIVER, "amount": 7, "asset": "HIVE", "every": 1_000, "memo": "thanks"}
        given.setdefault("payouts", [payout])
        parameters = {**QUICK, **given.pop("parameters", {})}
        genesis = found(genesis_document(MEMBERS, start_block=20, parameters=parameters, **given))
        self.group = VirtualGroup(new_chain(MEMBERS, MEMBERS[0]), genesis, folder)
        for member in MEMBERS:
            self.group.join(member)

    @property
    def state(self) -> State:
        return self.group.nodes["runner01"].state

    def until(self, height: int) -> None:
        while self.state.height < height:
            self.group.step()

    def done(self) -> dict[int, Done]:
        return {int(number): done for (number,), done in self.state.walk(DONE)}

    def keep_out(self, kind: str, *accounts: str) -> None:
        """What these members send of one kind never arrives."""
        self.group.refuses = lambda account, item: item.content.startswith(kind) and account in accounts

    def same_everywhere(self) -> bool:
        states = [node.state for node in self.group.nodes.values()]
        return len({state.current_root() for state in states if state.height == self.state.height}) == 1


EVERYBODY = [member.account for member in MEMBERS]


@pytest.fixture
def five(tmp_path: Path) -> Group:
    return Group(tmp_path)


def test_the_founding_rotation_gives_the_account_to_the_group(five):
    five.until(60)
    (done,) = five.done().values()
    assert (done.status, done.signers) == ("confirmed", (MEMBERS[0].signing_key.public,))
    wanted = strict([member.signing_key.public for member in MEMBERS])
    assert [five.state.need(AUTHORITY, role) for role in ("owner", "active", "posting")] == [wanted] * 3
    account = five.group.chain.ledger.account(five.group.genesis.group)
    assert account.active.weight_threshold == account.owner.weight_threshold == 3
    assert five.state.need(TALLY).last == 3_000
    assert five.same_everywhere()


def test_a_payout_that_falls_due_arrives_once(tmp_path):
    payout = {"to": RECEIVER, "amount": 7, "asset": "HIVE", "every": 70, "memo": "thanks"}
    group = Group(tmp_path, payouts=[payout])
    before = group.group.chain.ledger.account(RECEIVER).balances[0]
    group.until(115)
    done = group.done()[2]
    assert done.status == "confirmed"
    assert len(done.signers) >= 3
    assert group.group.chain.ledger.account(RECEIVER).balances[0] == before + 7
    assert group.same_everywhere()


def test_a_rotation_that_nobody_broadcasts_expires_and_the_next_tally_decides_anew(five):
    five.keep_out("broadcast", *EVERYBODY)
    five.until(79)
    assert {number: done.status for number, done in five.done().items()} == {1: "expired"}
    five.keep_out("nothing")
    five.until(100)
    assert {number: done.status for number, done in five.done().items()} == {1: "expired", 2: "confirmed"}
    assert [seat.marks for _, seat in five.state.walk(RUNNER)] == [0] * 5  # the only signer had signed
    assert five.same_everywhere()


def test_a_signer_that_reports_but_never_signs_gets_a_mark_for_each_rotation_and_loses_its_seat(tmp_path):
    """The founder's node reports on; its signature of the founding rotation never arrives."""
    five = Group(tmp_path, parameters={"seat_rounds": 100})
    five.keep_out("sign", "runner01")
    marks = []
    for height in range(21, 400):
        five.until(height)
        seat = five.state.get(RUNNER, "runner01")
        found = seat.marks if seat is not None else None
        if not marks or marks[-1] != found:
            marks.append(found)
    assert marks == [0, 1, 2, 3, None]
    assert {seat.marks for _, seat in five.state.walk(RUNNER)} == {0}


def test_with_too_many_silent_nothing_agrees_nothing_is_built_and_all_goes_on_when_they_are_back(tmp_path):
    payout = {"to": RECEIVER, "amount": 7, "asset": "HIVE", "every": 70, "memo": "thanks"}
    group = Group(tmp_path, payouts=[payout])
    group.until(65)
    group.group.silent = {"runner03", "runner04", "runner05"}
    group.until(139)
    tally = group.state.need(TALLY)
    assert tally.is_open and tally.open_rounds == 3
    assert (list(group.state.walk(MS)), len(list(group.state.walk(QUEUE)))) == ([], 1)
    group.group.silent = set()
    group.until(180)
    assert group.done()[2].status == "confirmed"
    assert group.state.need(TALLY).open_rounds == 0


def test_a_payout_that_expires_comes_back_alone_and_fails_in_the_end(tmp_path):
    payout = {"to": RECEIVER, "amount": 7, "asset": "HIVE", "every": 70, "memo": "thanks"}
    group = Group(tmp_path, payouts=[payout, {**payout, "memo": "again"}])
    group.until(85)
    group.keep_out("sign", *EVERYBODY)
    seen: list[tuple[tuple[int, ...], int]] = []
    for height in range(86, 150 + 3 * 60):
        group.until(height)
        for _, record in group.state.walk(MS):
            entry = (record.payloads, record.built)
            if entry not in seen and set(record.payloads) & {2, 3}:
                seen.append(entry)
    assert seen[0] == ((2, 3), 90)
    assert [payloads for payloads, _ in seen[1:5]] == [(2,), (3,), (2,), (3,)]
    assert [group.done()[number].why for number in (2, 3)] == ["expired"] * 2
