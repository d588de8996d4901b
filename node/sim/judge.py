"""What is checked of the nodes while they run: whether they drift, sign twice, or broadcast what Hive must refuse."""

from node.devnet.errors import AUTHORITY_NAMES, HivedRefusalError
from node.devnet.founding import GROUP
from node.sim.machine import Applied, Machine
from node.sim.outcome import Violation
from node.sim.scene import Scene

#: A node broadcasts so soon after it has asked for the authority: latency, and an answer that is late.
ASKED_WITHIN_MS = 3_600
_BY_SIGNATURE = AUTHORITY_NAMES | {"tx_irrelevant_sig", "tx_duplicate_sig"}


class Judge:
    """``failure`` is the first thing that must not be: the world looks there when the nodes have done their part."""

    def __init__(self, scene: Scene) -> None:
        self.failure: Violation | None = None
        self._scene = scene
        self._signed: dict[tuple[bytes, int], list[bytes]] = {}  # (key, payload) -> transactions
        self._expirations: dict[bytes, int] = {}
        self._ahead: list[tuple[Machine, Applied]] = []

    def fail(self, invariant: str, detail: str) -> None:
        """Note a violation; the first counts."""
        self.failure = self.failure or Violation(invariant, detail)

    # -- signing

    def signed(self, machine: Machine, key: bytes, digest: bytes) -> None:
        """No key signs two transactions for one payload of which both can still be included."""
        found = next((record for record in machine.records().values() if record.digest == digest), None)
        if found is None or machine.account in self._scene.plan.traitors:
            return
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
            machine.is_misled = True
        else:
            machine.is_misled = False  # what it had of a dead fork is gone: lost with the newest writes
            for name, own, true in (
                ("trace", block.trace, auditor.traces[block.height]),
                ("root", block.root, auditor.roots.get(block.height)),
            ):
                if own != true and own is not None:
                    self.fail("drift", f"{machine.name} has another {name} at {block.height}")

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
