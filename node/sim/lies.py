"""What a member that cheats sends instead of what its node wanted to send."""

import json
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from node.devnet.founding import CHAIN, MemberKeys
from node.signer.keys import SecretKey
from processors.genesis import Genesis
from processors.hive.operations import active_custom_json
from processors.hive.transaction import Transaction
from processors.report import report_digest


def custom_json_of(tx: Transaction, prefix: str) -> tuple[str, dict[str, Any]] | None:
    """(name, body) of a node's own custom_json, None for anything else."""
    operation = tx.operations[0]
    if len(tx.operations) != 1 or operation.name != "custom_json" or not operation.value["id"].startswith(prefix):
        return None
    return operation.value["id"][len(prefix) :], json.loads(operation.value["json"])


def rewritten(tx: Transaction, member: MemberKeys, prefix: str, name: str, body: dict[str, Any]) -> Transaction:
    """The member's transaction with another custom_json in it, signed anew."""
    text = json.dumps(body, separators=(",", ":"))
    operation = active_custom_json(member.account, prefix + name, text)
    return member.account_key.sign_transaction(replace(tx, operations=(operation,), signatures=()), CHAIN)


def lie(
    kind: str, tx: Transaction, member: MemberKeys, keys: list[SecretKey], genesis: Genesis, rotations: set[str]
) -> list[Transaction] | None:
    """What is sent in place of ``tx``; None if this kind of cheat sends it as it is."""
    found = custom_json_of(tx, genesis.prefix)
    if found is None:
        return None
    name, body = found
    if name == "report" and kind in ("false_root", "false_header", "double_report"):
        return _report(kind, tx, member, keys, genesis, body)
    if name == "sig_submit":
        if kind == "no_rotation_signature" and body["op"] in rotations:
            return []
        if kind == "refusing":
            return [rewritten(tx, member, genesis.prefix, "sig_refuse", {"op": body["op"], "why": "not_allowed"})]
    return None


def _report(
    kind: str, tx: Transaction, member: MemberKeys, keys: list[SecretKey], genesis: Genesis, body: dict[str, Any]
) -> list[Transaction]:
    if kind == "false_header":
        header = {**body["hdr"], "exp": body["hdr"]["exp"] + 3}
        return [rewritten(tx, member, genesis.prefix, "report", {**body, "hdr": header})]
    root = sha256(b"a lie " + bytes.fromhex(body["root"])).digest()
    digest = report_digest(genesis.hash, body["height"], root, member.account)
    false = {**body, "root": root.hex(), "sig": keys[-1].sign(digest).hex()}
    lies = [rewritten(tx, member, genesis.prefix, "report", false)]
    return [tx, *lies] if kind == "double_report" else lies
