"""What is checked of the nodes while they run: whether they drift, sign twice, or broadcast what Hive must refuse."""

from node.devnet.errors import AUTHORITY_NAMES, HivedRefusalError
from node.devnet.founding import GROUP
from node.sim.machine import Machine
from node.sim.outcome import Violation
from node.sim.scene import Scene
from node.sim.watched import Applied
from state.schema import ROUND, TALLY, Record

#: A node broadcasts so soon after it has asked for the authority: latency, and an answer that is late.
ASKED_WITHIN_MS = 3_600
#: So far behind a node looks at the chain for the first time: it is called live, and a server may be behind.
_NEAR_SECONDS = 100
#: A server that stands still may show a head that is so old.
_UNCLEAR_ROUNDS = 5
_BY_SIGNATURE = AUTHORITY_NAMES | {"tx_irrelevant_sig", "tx_duplicate_sig"}


class Judge:
    """``failure`` is the first thing that must not be: the world looks there when the nodes have done their part."""

    def __init__(self, scene: Scene) -> None:
        self.failure: Violation | None = None
        self._scene = scene
        self._signed: dict[tuple[bytes, int], list[bytes]] = {}  # (key, payload) -> transactions
        self._expirations: dict[bytes, int] = {}
        self._ahead: list[tuple[Machine, Applied]] = []
        self._unsettled: list[tuple[Machine, Record]] = []  # signed, and built on a block that is not audited yet
        self._roots: list[tuple[str, int, bytes]] = []  # whose root of which block is to be held against the auditor's
        scene.fail = self.fail

    def fail(self, invariant: str, detail: str) -> None:
        """Note a violation; the first counts."""
        self.failure = self.failure or Violation(invariant, detail)

    # -- signing

    def signed(self, machine: Machine, key: bytes, digest: bytes) -> None:
        """No key signs two transactions for one payload of which both can still be included."""
        if machine.is_halted:
            self.fail("halted_signs", f"{machine.name} signs though the group agreed on another root")
        found = next((record for record in machine.records().values() if record.digest == digest), None)
        if found is None or machine.account in self._scene.plan.traitors:
            return
        self._check_root(machine)
        self._check_age(machine, key)
        self._unsettled.append((machine, found))
        for payload in found.payloads:
            earlier = self._signed.setdefault((key, payload), [])
            for txid in earlier:
                if txid != found.txid and not self._is_dead(txid):
                    both = f"{found.txid.hex()} for payload {payload} while {txid.hex()} is not dead"
                    self.fail("signed_twice", f"{machine.name} signs {both}")
            if found.txid not in earlier:
                earlier.append(found.txid)
        self._expirations[found.txid] = found.expiration

    def _is_dead(self, txid: bytes) -> bool:
        """Whether a transaction was not included, and no block to come can include it."""
        scene = self._scene
        return txid not in scene.chain.included and scene.auditor.irreversible_time() >= self._expirations[txid]

    def _check_root(self, machine: Machine) -> None:
        """Whoever signs has a root of the round before that is true, and that the group agreed on."""
        assert machine.core is not None
        state = machine.core.state
        start = state.need(TALLY).height - self._scene.genesis.params.round_length
        found, own = state.get(ROUND, start), state.root(start)
        if found is None or own is None or found.root != own:
            self.fail("signed_unagreed", f"{machine.name} signs, and nobody agreed with its root of {start}")
        else:
            self._roots.append((machine.name, start, own))
            self._settle_roots()

    def _settle_roots(self) -> None:
        """When irreversibility jumps, a node may be where the auditor comes to in a moment."""
        auditor = self._scene.auditor
        waiting, self._roots = self._roots, []
        for name, start, own in waiting:
            if start > auditor.height:
                self._roots.append((name, start, own))
            elif auditor.roots.get(start) != own:
                self.fail("signed_unagreed", f"{name} signs, and its root of {start} is false")

    def _check_age(self, machine: Machine, key: bytes) -> None:
        """What an old key may have signed with another journal is dead before it signs with this one."""
        scene = self._scene
        if machine.held_at is None or machine.core is None or key not in machine.held_keys:
            return
        params = scene.genesis.params
        is_old = any(fault.kind == "old_head" for fault in scene.plan.faults)  # it is believed
        unclear = _NEAR_SECONDS + is_old * _UNCLEAR_ROUNDS * params.round_length * 3
        if machine.core.state.head.timestamp < machine.held_at + params.header_lifetime - unclear:
            self.fail("held_signs", f"{machine.name} signs with a journal that began at {machine.held_at}")

    def settle(self) -> None:
        """What was signed was built on the chain, unless the state of who signed it was corrupted, or two operators
        called the same false block irreversible. (It is remembered that such a signature is out.)"""
        self._settle_roots()
        scene = self._scene
        waiting, self._unsettled = self._unsettled, []
        for machine, record in waiting:
            if record.built > scene.auditor.height:
                self._unsettled.append((machine, record))
            elif record.txid not in scene.auditor.known:
                machine.false_until = max(machine.false_until, record.expiration)
                is_struck = machine.is_corrupted or len(scene.network.misleads.get(machine.name, ())) > 1
                if not is_struck:
                    self.fail("signed_false", f"{machine.name} signed {record.txid.hex()}, which nobody else built")

    # -- applying

    def applied(self, machine: Machine, block: Applied) -> None:
        """Compare with the auditor, now or when it is there."""
        if block.height > self._scene.auditor.height:
            self._ahead.append((machine, block))
        else:
            self._compare(machine, block)

    def compare_those_ahead(self) -> None:
        """The auditor has moved on."""
        waiting, self._ahead = self._ahead, []
        for machine, block in waiting:
            self.applied(machine, block)

    def _compare(self, machine: Machine, block: Applied) -> None:
        """Who applied the same blocks has the same trace and the same root."""
        auditor = self._scene.auditor
        if block.life != machine.life:
            return
        if block.block_id != auditor.ids.get(block.height):
            if not machine.is_misled:
                self._scene.note(machine.name, "misled", height=block.height)
                if machine.name not in self._scene.network.misleads:
                    self.fail("misled_by_nobody", f"{machine.name} applies another block {block.height}")
            machine.is_misled = True
        else:
            machine.is_misled = False  # what it had of a dead fork is gone: lost with the newest writes
            for name, own, true in (
                ("trace", block.trace, auditor.traces[block.height]),
                ("root", block.root, auditor.roots.get(block.height)),
            ):
                if block.on_sand and name == "root" and own is not None and own == true:
                    machine.is_corrupted = False  # what was changed is gone: lost with the newest writes, or undone
                elif own != true and own is not None and not block.on_sand:
                    self.fail("drift", f"{machine.name} has another {name} at {block.height}")

        if machine.is_corrupted and block.on_sand and block.height % self._scene.genesis.params.round_length == 0:
            self._check_halted(machine, block)

    def _check_halted(self, machine: Machine, block: Applied) -> None:
        """Whoever differs from what the group agreed on has stopped."""
        if machine.core is None or machine.core.state.height != block.height:
            return
        state, auditor = machine.core.state, self._scene.auditor
        start = block.height - self._scene.genesis.params.round_length
        found, own = auditor.state.get(ROUND, start), state.root(start)
        if found is not None and found.root is not None and own not in (None, found.root) and not machine.is_halted:
            self.fail("not_halted", f"{machine.name} goes on with another root of {start} than was agreed")

    # -- broadcasting

    def refused(self, machine: Machine, refusal: HivedRefusalError) -> None:
        """Hive refuses a group transaction for its authority only if that changed after the server was asked."""
        scene = self._scene
        if "Duplicate transaction" in str(refusal):
            return
        scene.note(machine.name, "refused by Hive", error=str(refusal)[:120])
        if refusal.name not in _BY_SIGNATURE:
            return
        account, asked = scene.network.authority_shown.get(machine.name, (None, 0))
        now = scene.chain.ledger.accounts[GROUP]
        moved = account is not None and (account.owner, account.active) != (now.owner, now.active)
        in_time = scene.clock.now - asked <= ASKED_WITHIN_MS or machine.was_paused_since(asked)
        if in_time and moved:
            scene.count("overtaken")
        else:
            self.fail("refused_for_authority", f"{machine.name}: {refusal}")
