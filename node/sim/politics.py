"""Members who govern: tokens that move, proposals, votes, vetoes, marks, halts; foolish and false ones too."""

from random import Random
from typing import Any

from node.devnet.founding import CHAIN, GROUP
from node.sim.outside import STRANGER
from node.sim.plan import Fault, name_of
from node.sim.scene import Scene
from processors.hive.chain import HIVE
from state.schema import BALANCE, COLLATERAL, EMERGENCY, MS, PROPOSAL, QUEUE, VOTE

#: A chance of one in so many, at each slot, that somebody says something of a kind.
_SELDOM = 4
_LIFE = (100, 140)


class Politics:
    """``begin_KIND``, ``during_KIND`` and ``end_KIND`` as in node.sim.people."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    # -- tokens

    def during_tokens_moved(self, fault: Fault) -> None:
        """Sent, locked, unlocked: by halves, so that seats stay; too much, and to oneself, now and then."""
        random = self._random(fault)
        if random.randrange(_SELDOM):
            return
        state = self.scene.auditor.state
        account = self._somebody(random)
        balance, collateral = state.get(BALANCE, account), state.get(COLLATERAL, account)
        liquid = balance.liquid if balance is not None else 0
        locked = collateral.locked if collateral is not None else 0
        amount = random.choice([1, 3, liquid // 3 + 1, liquid, liquid + 1])
        kind = random.choice(["send", "gov_up", "gov_down"])
        if kind == "send":
            body: dict[str, Any] = {"to": random.choice([self._somebody(random), account, STRANGER]), "amount": amount}
        else:
            body = {"amount": amount if kind == "gov_up" else random.choice([0, 1, 3, locked // 2, locked + 1])}
        self._say(fault, account, kind, body)

    # -- proposals

    def during_proposals(self, fault: Fault) -> None:
        """Made, voted on by everybody in his own time, taken back."""
        random = self._random(fault)
        if not random.randrange(_SELDOM):
            ends = self.scene.auditor.height + random.choice([*_LIFE, *_LIFE, 99, 250_000])
            account = self._somebody(random)
            if random.randrange(5):
                body: dict[str, Any] = {"ops": self._operations(random), "expires": ends}
                self._say(fault, account, "propose", body)
            else:
                name, value = random.choice([("spend_limit_hive", 20_000), ("large_delay", 3), ("round_length", 40)])
                body = {"name": name, "value": value, "delay": random.choice([0, 30]), "expires": ends}
                self._say(fault, account, "propose_change", body)
        numbers = [int(number) for (number,), _ in self.scene.auditor.state.walk(PROPOSAL)]
        if numbers:
            number = random.choice([*numbers, numbers[0], numbers[-1] + 1])
            if random.randrange(8):
                self._say(fault, self._somebody(random), "vote", {"id": number, "yes": random.random() < 0.8})
            else:
                self._say(fault, self._somebody(random), "unpropose", {"id": number})

    def _operations(self, random: Random) -> list[Any]:
        unit = CHAIN.symbols[HIVE]
        amount = f"{random.choice([0, 0, 1])}.{random.randrange(1, 60):03} {unit}"
        transfer = {"from": GROUP, "to": STRANGER, "amount": amount, "memo": "approved"}
        to_nobody = {**transfer, "to": "nobody-at-all"}
        savings = {"from": GROUP, "to": GROUP, "amount": amount, "memo": ""}
        words = {"required_auths": [GROUP], "required_posting_auths": [], "id": "hello", "json": '{"a":1}'}
        stolen = {"from": name_of(1), "to": STRANGER, "amount": amount, "memo": ""}
        return random.choice(
            [
                [["transfer", transfer]],
                [["transfer", transfer]],
                [["transfer", transfer]],
                [["transfer", to_nobody]],
                [["transfer", transfer], ["custom_json", words]],
                [["transfer_to_savings", savings]],
                [["transfer", stolen]],
                [["account_update", {"account": GROUP}]],
            ]
        )

    # -- what can be stopped

    def during_stopping(self, fault: Fault) -> None:
        """Halts, their end, rotations held, payloads vetoed, transactions marked."""
        random = self._random(fault)
        if random.randrange(2):
            return
        state = self.scene.auditor.state
        kind = random.choice(["halt", "resume", "hold", "veto", "ms_cancel", "ms_cancel"])
        if kind == "veto":
            waiting = [int(number) for (number,), payload in state.walk(QUEUE) if not payload.out]
            if waiting:
                self._say(fault, self._somebody(random), kind, {"payload": random.choice(waiting)})
        elif kind == "ms_cancel":
            for (op,), _ in list(state.walk(MS))[:1]:
                self._say(fault, self._somebody(random), kind, {"op": str(op)})
        else:
            self._say(fault, self._somebody(random), kind, {"on": random.random() < 0.9})

    # -- speaking

    def _say(self, fault: Fault, account: str, name: str, body: dict[str, Any]) -> None:
        member = self.scene.members[account]
        if self.scene.outside.custom_json(account, member.account_key, name, body) is not None:
            self.scene.count_once(fault)

    def _somebody(self, random: Random) -> str:
        return random.choice(sorted(self.scene.members))

    def _random(self, fault: Fault) -> Random:
        """Of this fault at this slot, whatever else happens."""
        return Random(f"politics {self.scene.plan.seed} {fault.n} {self.scene.slot}")


def is_stopped(scene: Scene, height: int) -> bool:
    """Whether the seats have stopped payouts or rotations, or votes to do so still stand."""
    found = scene.auditor.state.get(EMERGENCY)
    stopped = found is not None and height < max(found.halted_until, found.held_until)
    return stopped or any(str(what) in ("halt", "hold") for (what, _), _ in scene.auditor.state.walk(VOTE))
