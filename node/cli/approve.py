"""`waggle approve`: the operator's word for one group transaction, where the journal lies."""

import re
from pathlib import Path
from typing import Any

import click

from node.cli.key_options import json_option, tell
from node.cli.status import look
from node.cli.whose import Place, add_word, config_option, place_of
from node.config import load_config
from node.control import CONTROL
from node.errors import ConfigError
from node.signer.approvals import Approvals, approval
from node.signer.service_config import is_service

_TXID = re.compile(r"[0-9a-f]{40}")
_OP = re.compile(r"[0-9]{1,10}:[0-9]{1,5}:[0-9]{1,10}")


@click.command()
@click.argument("op", required=False)
@click.argument("txid", required=False)
@click.option("--list", "list_them", is_flag=True, help="List what was approved.")
@config_option
@json_option
def approve(op: str | None, txid: str | None, list_them: bool, config_path: Path, as_json: bool) -> None:
    """Approve the group transaction OP (HEIGHT:NUM:PREFIX, as `waggle status` shows it), with policy.manual.

    What is approved is the transaction TXID: another one with the same OP is not. The running node tells it; where no
    node can be asked, and with a signer.toml, name it as the log line `hold` of the signer does.
    The node may be running: it reads the approvals at every block.

    Example:  waggle approve 61500:61450:3735928559 --config config.toml
    """
    place = place_of(config_path)
    if list_them == (op is not None):
        raise ConfigError("name one group transaction, or --list")
    if op is None:
        words = Approvals(place.approvals).words()
        tell({"approved": words}, "\n".join(words) or "nothing was approved", as_json)
        return
    if not _OP.fullmatch(op):
        raise ConfigError(f"{op} is no id of a group transaction: copy HEIGHT:NUM:PREFIX from `waggle status`")
    if txid is not None and not _TXID.fullmatch(txid):
        raise ConfigError(f"{txid[:80]} is no id of a transaction: it has 40 letters of hex")
    known = _known(config_path, place, op)
    word = approval(op, bytes.fromhex(_meant(op, txid, known)))
    add_word(place, word)
    body = {"approved": word, "known": known}
    tell(
        body, "\n".join([f"approved: {word}", *(f"  {key}: {value}" for key, value in (known or {}).items())]), as_json
    )


def _known(config_path: Path, place: Place, op: str) -> dict[str, Any] | None:
    """What the running node tells of a group transaction; empty if it is not out, None if it cannot be asked."""
    if is_service(config_path) or not (place.data / CONTROL).exists():
        return None
    _, _, found = look(load_config(config_path))
    if found is None:
        return None
    return next(
        (
            {"kind": one.kind, "pays": list(one.payloads), "txid": one.txid}
            for one in found.transactions
            if one.op == op
        ),
        {},
    )


def _meant(op: str, txid: str | None, known: dict[str, Any] | None) -> str:
    """The id of the transaction that is approved. Raises ConfigError."""
    if known is None:
        click.echo("The node was not asked (it does not run here): whether it knows this id is not known.", err=True)
        if txid is None:
            raise ConfigError(f"write `waggle approve {op} TXID` as the log line `hold` of this transaction shows it")
        return txid
    if not known:
        raise ConfigError(f"the node has no group transaction {op} out: see `waggle status`")
    if txid not in (None, known["txid"]):
        raise ConfigError(f"the node has {known['txid']} out as {op}, not {txid}: look at it anew")
    return str(known["txid"])
