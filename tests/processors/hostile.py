"""A corpus of hostile operations: each a name, the code it must get, and how to make it on a live group's state.

``python -m tests.processors.hostile --write`` applies them all and writes the root to docs/vectors/hostile_root.json:
every version of Python, every store and every machine must find the same one.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from node.devnet.founding import GROUP, RECEIVER, devnet_key
from node.signer.keys import SecretKey
from processors.hive.operations import Operation
from processors.hive.transaction import Transaction, unpack_transaction
from state.schema import DECIDED, MS
from state.store import Store
from tests.processors import hostile_decisions as decisions
from tests.processors import hostile_fields as fields
from tests.processors import hostile_texts as texts
from tests.processors.blocks import Stage, account_update, custom_json, custom_json_with_id, key_text, member
from tests.processors.blocks import strict_authority as strict

VECTOR = Path(__file__).parents[2] / "docs" / "vectors" / "hostile_root.json"
PER_BLOCK = 100
SIGNING = ("report", "sig_submit", "sig_refuse", "ms_signed", "node_add", "node_delete")
NAMES = (*SIGNING, *decisions.ACTORS)
Body = dict[str, Any]


class Scene:
    """A group in the middle of things, at a height where reports count; nothing here is out of the ordinary."""

    def __init__(self, *stores: Store, max_rejections: int = 1_000) -> None:
        payout = {"to": RECEIVER, "amount": 5, "asset": "HIVE", "every": 7, "memo": "weekly"}
        parameters = {"max_merge": 1, "payload_lifetime": 126, "header_min_left": 60, "max_in_flight": 20}
        parameters |= {"max_members": 40, "max_rejections": max_rejections, "history": 100, "unlock_part": 1}
        locked = decisions.COLLATERAL
        self.stage = stage = Stage(4, payouts=[payout], parameters=parameters, stores=stores or None, collateral=locked)
        self.one, self.two, self.three, self.four = stage.members
        self.new_two, self.next = devnet_key("runner02 new"), devnet_key("newcomer next")
        self.newcomer, self.hoarder = member("newcomer"), member("hoarder")
        self.hoard = [devnet_key(f"hoarder {n}") for n in range(64)]
        self.crowd = [member(f"crowd{n:02}") for n in range(1, 35)]  # with the others 40: max_members
        stage.run_to(160)
        without_four = strict([m.signing_key for m in stage.members[:3]])
        stage.block(account_update(GROUP, active=without_four, owner=without_four))
        stage.block(*[stage.node_add(m.account, m.signing_key) for m in self.crowd])
        stage.block(stage.node_add("newcomer", self.newcomer.signing_key, follow=True), decisions.liquid())
        stage.block(*[stage.node_add("hoarder", key, follow=True) for key in self.hoard])
        for name, key in (("newcomer", self.next), ("hoarder", devnet_key("hoarder next"))):
            stage.block(account_update(name, active=strict([key])))
        self.gone = stage.records()[0]
        stage.run_to(221)
        stage.block(stage.report(self.one), stage.node_add("runner02", self.new_two), _delete("runner03"))
        payouts = stage.records()
        self.marked, self.clean, self.refused, self.begun, self.ready = payouts[-5:]
        (self.rotation,) = stage.records("rotation")
        one, two = self.one.signing_key, self.two.signing_key
        signed = [stage.submit(self.ready, one), stage.submit(self.ready, two), stage.submit(self.begun, one)]
        stage.block(*signed, *decisions.proposals(stage))
        refusals = (self.begun, "runner02"), (self.refused, "runner02"), (self.refused, "runner03")
        stage.block(*[stage.refuse(op, account) for op, account in refusals], *decisions.votes(self.begun, self.marked))
        self.locked = stage.state.need(DECIDED, 2).payload
        stage.run_to(227)
        dead = [op for op in payouts if self.record(op) and self.record(op).expiration <= stage.maker.timestamp]
        self.expired = dead[-1]

    def record(self, op: str) -> Any:
        """The record of a group transaction, None if it is gone."""
        return self.stage.state.get(MS, op)

    def body(self, name: str) -> Body:
        """A body that would be accepted, were it not for what a case does to it (see ``actor``)."""
        if name == "report":
            return self.stage.report_body(self.four)
        if name == "sig_submit":
            return {"op": self.clean, "sig": self.one.signing_key.sign(self.record(self.clean).digest).hex()}
        if name == "node_add":
            found: Body = json.loads(self.stage.node_add("crowd34", devnet_key("fresh")).value["json"])
            return found
        found = {"sig_refuse": {"op": self.clean, "why": "policy"}, "ms_signed": {"op": self.ready}, "node_delete": {}}
        return (found | decisions.bodies(self))[name]


ACTOR = dict(zip(SIGNING, ("runner04", "stranger", "runner03", GROUP, "crowd34", "crowd33"), strict=True))
ACTOR |= decisions.ACTORS
Make = Callable[[Scene], "Operation | Transaction"]


class Case(NamedTuple):
    """``code``: a rejection code, "ignored" (no entry), or "accepted"."""

    name: str
    code: str
    make: Make


def cases() -> list[Case]:
    """The corpus, in its order: what must come before a group transaction dies stands first."""
    decided = [Case(*case) for case in decisions.cases()]
    found = [*_signatures(), *_semantics(), *decided, *_bodies(), *_texts(), *_envelopes()]
    assert len({case.name for case in found}) == len(found)
    return found


def in_blocks() -> list[list[Case]]:
    """The corpus by the blocks that hold it."""
    found = cases()
    return [found[at : at + PER_BLOCK] for at in range(0, len(found), PER_BLOCK)]


def apply_corpus(scene: Scene) -> bytes:
    """Every case, some a block; the root after the last block."""
    for some in in_blocks():
        scene.stage.block(*[case.make(scene) for case in some], decoded=True)
    return scene.stage.state.current_root()


def _delete(account: str) -> Operation:
    return custom_json(account, "node_delete", "{}")


def _json(account: str, name: str, body: Body) -> Operation:
    return custom_json(account, name, json.dumps(body, ensure_ascii=False))


def _with(name: str, account: str = "", **changed: Any) -> Make:
    """The good body of ``name`` with other values; callables are given the scene."""

    def make(scene: Scene) -> Operation:
        given = {key: value(scene) if callable(value) else value for key, value in changed.items()}
        return _json(account or ACTOR[name], name, scene.body(name) | given)

    return make


def _signatures() -> Iterator[Case]:
    """Garbage in every place of a signature; the right key for the wrong thing, the wrong key for the right one."""
    places = {
        "report": ("sig", "bad_signature"),
        "sig_submit": ("sig", "bad_signature"),
        "node_add": ("pop", "bad_pop"),
    }
    for name, (field, code) in places.items():
        for how in texts.GARBLES:

            def make(scene: Scene, name: str = name, field: str = field, how: str = how) -> Operation:
                body = scene.body(name)
                return _json(ACTOR[name], name, body | {field: texts.garbled(bytes.fromhex(body[field]))[how].hex()})

            yield Case(f"{name}: {field}: {how}", code, make)

    def submit(op: str, key: Callable[[Scene], SecretKey], *, of: str = "", sender: str = "stranger") -> Make:
        def make(scene: Scene) -> Operation:
            sig = key(scene).sign(scene.record(getattr(scene, of or op)).digest)
            return _json(sender, "sig_submit", {"op": getattr(scene, op), "sig": sig.hex()})

        return make

    keys: dict[str, Callable[[Scene], SecretKey]] = {
        "a stranger": lambda s: devnet_key("stranger"),
        "a removed key": lambda s: s.four.signing_key,
        "a member outside": lambda s: s.newcomer.signing_key,
        "the new key of a signer": lambda s: s.new_two,
        "the account key of a signer": lambda s: s.one.account_key,
    }
    for op in ("clean", "rotation", "ready"):
        for words, key in keys.items():
            yield Case(f"sig_submit: {op} by {words}", "bad_signature", submit(op, key))
    yield Case(
        "sig_submit: of another record", "bad_signature", submit("clean", lambda s: s.one.signing_key, of="begun")
    )
    yield Case("sig_submit: twice", "signed_already", submit("begun", lambda s: s.one.signing_key))
    yield Case("sig_submit: twice, by the group", "signed_already", submit("ready", _key_one, sender=GROUP))
    yield Case("sig_submit: twice, another nonce", "signed_already", _second_nonce)
    yield Case("sig_submit: expired, not yet recast", "accepted", submit("expired", _key_one))
    yield Case("sig_submit: former key that still signs", "accepted", submit("rotation", lambda s: s.two.signing_key))
    yield Case("sig_submit: withdraws the refusal", "accepted", submit("refused", lambda s: s.three.signing_key))
    yield Case("sig_submit: gone", "unknown_op", _with("sig_submit", op=lambda s: s.gone))


def _key_one(scene: Scene) -> SecretKey:
    return scene.one.signing_key


def _second_nonce(scene: Scene) -> Operation:
    sig = texts.other_nonce(scene.one.signing_key, scene.record(scene.begun).digest)
    return _json("runner01", "sig_submit", {"op": scene.begun, "sig": sig.hex()})


def _semantics() -> Iterator[Case]:
    """Well-formed, and wrong."""
    for name in ("sig_submit", "sig_refuse", "ms_signed"):
        for op in ("0:0:0", "9999999999999999999:99999:9999999999", "227:1:1"):
            yield Case(f"{name}: unknown {op}", "unknown_op", _with(name, op=op))
    for shift in (-200, -50, -1, 1, 20, 50):
        made = _with("report", height=lambda s, shift=shift: s.body("report")["height"] + shift)
        yield Case(f"report: height {shift:+}", "wrong_height", made)
    for field, value in (("num", 0), ("num", 65535), ("pre", 0), ("pre", 2**32 - 1), ("exp", 0), ("exp", 2**32 - 1)):
        made = _with("report", hdr=lambda s, f=field, v=value: s.body("report")["hdr"] | {f: v})
        yield Case(f"report: hdr.{field} {value}", "wrong_header", made)
    report: dict[str, tuple[str, Make]] = {
        "by a stranger": ("not_member", _with("report", "stranger")),
        "by the group": ("not_member", _with("report", GROUP)),
        "by nobody": ("not_member", lambda s: _json("", "report", s.body("report"))),
        "twice": ("reported_already", lambda s: s.stage.report(s.one)),
        "twice, another key": ("reported_already", lambda s: s.stage.report(s.one, key=devnet_key("x"))),
        "of another member": ("bad_signature", _with("report", "runner02")),
        "of another genesis": ("bad_signature", lambda s: s.stage.report(s.four, hashed=bytes(32))),
        "another root than signed": ("bad_signature", _with("report", root="00" * 32)),
        "by a former key": ("bad_signature", lambda s: s.stage.report(s.two)),
        "by another's next key": ("bad_signature", lambda s: s.stage.report(s.four, key=s.next)),
        "a root of its own": ("accepted", lambda s: s.stage.report(s.crowd[0], root=bytes(32))),
        "by a leaving member": ("accepted", lambda s: s.stage.report(s.three)),
        "by the next key": ("accepted", lambda s: s.stage.report(s.newcomer, key=s.next)),
        "by the key after 64": ("too_many_keys", lambda s: s.stage.report(s.hoarder, key=devnet_key("hoarder next"))),
    }
    rest: dict[str, tuple[str, Make]] = {
        "sig_refuse: by a stranger": ("not_member", _with("sig_refuse", "stranger")),
        "sig_refuse: by a stranger, of nothing": ("not_member", _with("sig_refuse", "stranger", op="0:0:0")),
        "sig_refuse: by a member outside": ("not_signer", _with("sig_refuse", "newcomer")),
        "sig_refuse: by a removed signer": ("not_signer", _with("sig_refuse", "runner04")),
        "sig_refuse: after signing": ("not_signer", _with("sig_refuse", "runner01", op=lambda s: s.begun)),
        "sig_refuse: twice": ("refused_already", _with("sig_refuse", "runner02", op=lambda s: s.begun)),
        "sig_refuse: twice, other reason": (
            "refused_already",
            _with("sig_refuse", "runner02", op=lambda s: s.begun, why="b"),
        ),
        "sig_refuse: by a leaving signer": ("accepted", _with("sig_refuse")),
        "ms_signed: by a signer": ("not_group", _with("ms_signed", "runner01")),
        "ms_signed: by a stranger": ("not_group", _with("ms_signed", "stranger", op="0:0:0")),
        "ms_signed: in another transaction": ("wrong_transaction", _with("ms_signed")),
        "ms_signed: of the rotation": ("wrong_transaction", _with("ms_signed", op=lambda s: s.rotation)),
        "ms_signed: of an earlier one": ("unknown_op", _with("ms_signed", op=lambda s: s.gone)),
        "ms_signed: a changed expiration": ("wrong_transaction", lambda s: _group_tx(s, 1)),
        "ms_signed: unsigned by the state's count": ("accepted", lambda s: _group_tx(s, 0)),
        "node_add: pop of another genesis": (
            "bad_pop",
            lambda s: s.stage.node_add("crowd02", devnet_key("n"), hashed=bytes(32)),
        ),
        "node_add: pop of another account": (
            "bad_pop",
            lambda s: s.stage.node_add("crowd02", devnet_key("n"), pop_account="crowd03"),
        ),
        "node_add: pop by another key": ("bad_pop", _with("node_add", signing_key=key_text(devnet_key("n")))),
        "node_add: a stranger's copy": ("bad_pop", _with("node_add", "stranger")),
        "node_add: key of a member": ("key_taken", lambda s: s.stage.node_add("crowd02", s.one.signing_key)),
        "node_add: former key": ("key_taken", lambda s: s.stage.node_add("crowd02", s.two.signing_key)),
        "node_add: stranger, key of a member": ("key_taken", lambda s: s.stage.node_add("stranger", s.new_two)),
        "node_add: key of a leaving member": ("key_taken", lambda s: s.stage.node_add("crowd02", s.three.signing_key)),
        "node_add: the 65th key": ("too_many_keys", lambda s: s.stage.node_add("hoarder", devnet_key("65"))),
        "node_add: one of 64 again": ("accepted", lambda s: s.stage.node_add("hoarder", s.hoard[3])),
        "node_add: one too many": ("too_many_members", lambda s: s.stage.node_add("stranger", devnet_key("n"))),
        "node_add: the group itself": ("too_many_members", lambda s: s.stage.node_add(GROUP, devnet_key("n"))),
        "node_add: a key nobody has yet": ("accepted", lambda s: s.stage.node_add("crowd03", s.crowd[2].account_key)),
        "node_delete: by a stranger": ("not_member", lambda s: _delete("stranger")),
        "node_delete: by the group": ("not_member", lambda s: _delete(GROUP)),
        "node_delete: leaving": ("already_leaving", lambda s: _delete("runner03")),
        "node_delete: 8192 bytes": (
            "accepted",
            lambda s: custom_json("crowd05", "node_delete", "{" + " " * 8_190 + "}"),
        ),
        "sig_submit: escaped letters": ("accepted", _escaped),
        "node_delete: spaces": ("accepted", lambda s: custom_json("crowd04", "node_delete", " {\r\n\t} ")),
    }
    for words, (code, make) in {**{f"report: {k}": v for k, v in report.items()}, **rest}.items():
        yield Case(words, code, make)


def _escaped(scene: Scene) -> Operation:
    sig = scene.three.signing_key.sign(scene.record(scene.begun).digest).hex()
    return custom_json(
        "stranger", "sig_submit", f'{{"\\u006Fp":"{scene.begun}","s\\u0069g":"\\u003{sig[0]}{sig[1:]}"}}'
    )


def _group_tx(scene: Scene, later: int) -> Transaction:
    tx = unpack_transaction(scene.record(scene.ready).tx, scene.stage.genesis.chain)
    return Transaction(tx.ref_block_num, tx.ref_block_prefix, tx.expiration + later, tx.operations)


def _bodies() -> Iterator[Case]:
    for name, field, words, code, value in fields.fields():

        def make(scene: Scene, name: str = name, field: str = field, value: Any = value) -> Operation:
            return _json(ACTOR[name], name, fields.changed(scene.body(name), field, value))

        yield Case(f"{name}: {field}: {words}", code, make)


def _texts() -> Iterator[Case]:
    for name in NAMES:
        for words, code, write in texts.whole(name):

            def make(scene: Scene, name: str = name, write: Callable[[str], str] = write) -> Operation:
                return custom_json(ACTOR[name], name, write(json.dumps(scene.body(name))))

            yield Case(f"{name}: {words}", code, make)


def _envelopes() -> Iterator[Case]:
    for name in NAMES:
        for words, active, posting in texts.authorities(ACTOR[name]):

            def make(scene: Scene, name: str = name, a: Any = active, p: Any = posting) -> Operation:
                return custom_json_with_id(f"waggle_{name}", json.dumps(scene.body(name)), active=a, posting=p)

            yield Case(f"{name}: {words}", "ignored", make)
    for kind in texts.FOREIGN_IDS:
        yield Case(f"id {kind!r}", "ignored", lambda s, kind=kind: custom_json_with_id(kind, "{", active=("runner04",)))


def vector(root: bytes) -> str:
    """The content of docs/vectors/hostile_root.json."""
    found = cases()
    codes = {code: sum(case.code == code for case in found) for code in sorted({case.code for case in found})}
    return json.dumps({"cases": len(found), "codes": codes, "root": root.hex()}, indent=1) + "\n"


if __name__ == "__main__":
    text = vector(apply_corpus(Scene()))
    if "--write" in sys.argv:
        VECTOR.write_text(text)
    print(text, end="")
    print("as in", VECTOR.name if VECTOR.read_text() == text else "NO file", "by Python", sys.version.split()[0])
