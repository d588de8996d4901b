"""Faults of people and strangers: silent members, bad signatures, keys, seats, authorities, refused payouts."""

from node.devnet.founding import GROUP, devnet_key, one_key
from node.sim.outside import foolish
from node.sim.plan import SLOT_MS, Fault
from node.sim.scene import Scene
from state.schema import AUTHORITY, KEY, MS, NODE, SIG


class PeoplesFaults:
    """``begin_KIND``, ``during_KIND`` and ``end_KIND`` are called when a fault of that kind begins, at every slot
    while it lasts, and when it ends."""

    def __init__(self, scene: Scene, active: list[Fault]) -> None:
        self.scene = scene
        self._active = active
        self._vests = scene.chain.ledger.accounts[GROUP].balances[2]
        self._sent: set[tuple[str, str]] = set()
        self._owner_asked: set[Fault] = set()
        self._old_signatures: dict[str, bytes] = {}

    # -- members

    def begin_leader_silent(self, fault: Fault) -> None:
        self.scene.leaders_silent = fault

    def end_leader_silent(self, fault: Fault) -> None:
        self.scene.leaders_silent = next((f for f in self._active if f.kind == fault.kind), None)

    def begin_all_but_threshold_silent(self, fault: Fault) -> None:
        """Keep exactly as many members as the active authority asks for; of those who cheat, none."""
        state = self.scene.auditor.state
        active = state.need(AUTHORITY, "active")
        weight, kept = 0, set()
        for key, key_weight in active.keys:
            owner = state.get(KEY, key)
            if owner is not None and owner.account not in self.scene.plan.traitors and weight < active.threshold:
                weight += key_weight
                kept.add(owner.account)
        if weight >= active.threshold:
            self.scene.count("all_but_threshold_silent")
            self.scene.silent = {name for name, machine in self.scene.machines.items() if machine.account not in kept}

    def end_all_but_threshold_silent(self, fault: Fault) -> None:
        self.scene.silent = set()

    # -- signatures of others

    def during_forged_signature(self, fault: Fault) -> None:
        for op, digest in self._records():
            lie = devnet_key("forger").sign(digest[::-1])
            self._once(fault, op, lie)

    def during_foreign_signature(self, fault: Fault) -> None:
        for op, digest in self._records():
            self._once(fault, op, devnet_key("foreign").sign(digest))

    def during_stale_signature(self, fault: Fault) -> None:
        self._remember_signatures()
        living = {op for op, _ in self._records()}
        for op in [op for op in self._old_signatures if op not in living][-1:]:
            self._once(fault, op, self._old_signatures[op])

    def during_duplicate_signature(self, fault: Fault) -> None:
        self._remember_signatures()
        for op, _ in self._records():
            if op in self._old_signatures:
                self._once(fault, op, self._old_signatures[op])

    def _remember_signatures(self) -> None:
        for (op, _), entry in self.scene.auditor.state.walk(SIG):
            self._old_signatures[str(op)] = entry.sig

    def _records(self) -> list[tuple[str, bytes]]:
        return [(str(op), record.digest) for (op,), record in self.scene.auditor.state.walk(MS)]

    def _once(self, fault: Fault, op: str, sig: bytes) -> None:
        if (fault.kind, op) not in self._sent and self.scene.outside.submit_signature(op, sig) is not None:
            self._sent.add((fault.kind, op))
            self.scene.count_once(fault)

    # -- seats and authorities

    def begin_key_change(self, fault: Fault) -> None:
        """The operator puts a new key beside the old one, restarts, and registers it."""
        machine = self.scene.struck(fault)
        fresh = devnet_key(f"{fault.who} signing {len(machine.keys)} {fault.n}")
        self.scene.hold(fresh)
        machine.keys.append(fresh)
        machine.stop()
        machine.start()
        if self.scene.outside.register(machine.member, fresh) is not None:
            self.scene.count("key_change")

    def begin_key_theft(self, fault: Fault) -> None:
        """Another member's key, with that member's own proof; or through the own account's authority."""
        outside, state = self.scene.outside, self.scene.auditor.state
        thief = self.scene.struck(fault)
        victims = [str(name) for (name,), _ in state.walk(NODE) if name != fault.who] if state.height >= 0 else []
        if not victims:
            return
        victim = state.need(NODE, victims[fault.n % len(victims)])
        if fault.n % 2:
            key = outside.keyring[victim.signing_key]
            done = outside.register(thief.member, key, pop=victim.pop or b"\x1f" * 65)
        else:
            outside.register(thief.member, thief.keys[-1], follow_active=True)
            done = outside.claim_by_account(thief.member, victim.signing_key)
        if done is not None:
            self.scene.count("key_theft")

    def begin_seat_bought(self, fault: Fault) -> None:
        machine = self.scene.struck(fault)
        if self.scene.outside.register(machine.member, machine.keys[-1]) is not None:
            self.scene.count("seat_bought")

    def begin_seat_emptied(self, fault: Fault) -> None:
        if self.scene.outside.unregister(self.scene.struck(fault).member) is not None:
            self.scene.count("seat_emptied")

    def end_seat_emptied(self, fault: Fault) -> None:
        machine = self.scene.struck(fault)
        self.scene.outside.register(machine.member, machine.keys[-1])

    def _change_authority(self, fault: Fault) -> None:
        """At the worst moment: if nothing is out now, wait until something is ready, or two rounds have passed."""
        scene = self.scene
        records = [record for _, record in scene.auditor.state.walk(MS)]
        length = scene.genesis.params.round_length
        waited = scene.slot - fault.slot
        if not any(record.status == "ready" for record in records) and waited < 2 * length:
            scene.clock.after(SLOT_MS, lambda: self._change_authority(fault) if scene.slot < scene.plan.quiet else None)
            return
        present = scene.chain.ledger.accounts[GROUP].active
        authority = foolish(fault.n % 5, present, self._honest_keys())
        owner_too = bool(fault.n & 64)
        second = fault.kind == "account_update2"
        claims = next((str(op) for (op,), _ in scene.auditor.state.walk(MS)), "") if fault.n & 128 else ""
        txid = scene.outside.change_authority(authority, owner_too=owner_too, second=second, claims=claims)
        if txid is not None:
            scene.auditor.foreign.add(txid)
            scene.count(fault.kind)
            scene.note("fault", "authority changed from outside", owner_too=owner_too, choice=fault.n % 5)

    begin_account_update = begin_account_update2 = _change_authority

    def _recover(self, fault: Fault) -> None:
        """First an owner to go back to, then the recovery account's request, then the recovery itself."""
        scene, outside = self.scene, self.scene.outside
        account = scene.chain.ledger.accounts[GROUP]
        keys = self._honest_keys()
        owner = one_key(keys[fault.n % len(keys)])
        if scene.slot >= scene.plan.quiet:
            return
        if not account.owner_history:
            txid = outside.change_authority(one_key(keys[0]), owner_too=True, second=False)
            if txid is not None:
                scene.auditor.foreign.add(txid)
        elif GROUP not in scene.chain.ledger.recovery_requests:
            outside.request_recovery(next(iter(scene.members.values())), owner)
        elif fault not in self._owner_asked:
            asked, _ = scene.chain.ledger.recovery_requests[GROUP]
            txid = outside.recover(asked, outside.keyring[asked.key_auths[0][0]])
            if txid is not None:
                self._owner_asked.add(fault)
                scene.auditor.foreign.add(txid)
                scene.count("recover_account")
            return
        scene.clock.after(2 * SLOT_MS, lambda: self._recover(fault))

    begin_recover_account = _recover

    def _honest_keys(self) -> list[bytes]:
        """Present signing keys of members that never cheat, the founder's first."""
        state = self.scene.auditor.state
        return [
            member.signing_key
            for (name,), member in state.walk(NODE)
            if name not in self.scene.plan.traitors and not member.leaving and name not in self.scene.corrupted()
        ]

    # -- what Hive refuses

    def begin_no_credits(self, fault: Fault) -> None:
        self.scene.count("no_credits")
        self.set_credits()

    def end_no_credits(self, fault: Fault) -> None:
        self.set_credits()

    def set_credits(self) -> None:
        """Also after a switch of forks, which may bring back what was before."""
        drained = any(fault.kind == "no_credits" for fault in self._active)
        self.scene.outside.set_credits(0 if drained else self._vests)
