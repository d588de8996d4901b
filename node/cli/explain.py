"""`waggle explain`: a group transaction in words, and its digest computed anew from its bytes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import msgspec

from node.assembly import load_genesis
from node.cli import life
from node.cli.history_options import Where, is_named, optional_history
from node.cli.key_options import FILE, json_option
from node.config import load_config
from node.errors import NodeError
from node.explain import Decoded, Explanation, decode
from node.group_facts import Explained, explained
from node.span import BLOCK_SECONDS, span
from processors.genesis import Genesis
from processors.hive.errors import HiveDataError
from processors.hive.times import time_to_text


@click.command("explain")
@click.argument("which", metavar="ID")
@click.option("--config", "config_path", type=FILE, help="The node's configuration; not needed with --history.")
@click.option("--history", is_flag=True, help="Its whole life, replayed: reports, signatures, recasts, its end.")
@click.option("--genesis", "genesis_path", type=FILE, help="With --history: the group's genesis document.")
@optional_history
@json_option
def explain_command(
    which: str, config_path: Path | None, history: bool, genesis_path: Path | None, where: Where, as_json: bool
) -> None:
    """Say what a group transaction does, who signed it, what it lacks, and when it expires.

    ID is that of the group transaction (HEIGHT:NUM:PREFIX), a payload (p7), or the beginning of its Hive id. Id and
    digest are computed from the bytes alone; exit 1 if they are not those that the state shows. With --history nothing
    is asked of a node: its life is replayed from the blocks of an archive, a block_log or a HAF database.

    Example:  waggle explain 61500:61450:3735928559 --config config.toml
    """
    if history:
        _tell_lives(which, _genesis_of(config_path, genesis_path), _source_of(config_path, where), as_json)
        return
    if config_path is None or is_named(where) or genesis_path is not None:
        raise click.UsageError("name the node's --config; or add --history to replay a history with --genesis")
    _tell_now(which, config_path, as_json)


def _genesis_of(config_path: Path | None, genesis_path: Path | None) -> Genesis:
    if genesis_path is None and config_path is None:
        raise click.UsageError("--history needs --genesis, or the node's --config")
    return load_genesis(genesis_path if genesis_path is not None else load_config(_needed(config_path)).genesis)


def _source_of(config_path: Path | None, where: Where) -> Where:
    """What is named; else the archive that the node fills."""
    if is_named(where) or config_path is None:
        if not is_named(where):
            raise click.UsageError("--history needs a source: --archive FOLDER, --block-log PATH or --haf DSN")
        return where
    archive = load_config(config_path).feed.archive
    if archive is None:
        raise NodeError("this node keeps no archive of blocks (feed.archive): name one with --archive")
    return Where(archive=archive)


def _needed(path: Path | None) -> Path:
    assert path is not None
    return path


def _tell_lives(which: str, genesis: Genesis, where: Where, as_json: bool) -> None:
    found = life.lives(genesis, where, which, quiet=as_json)
    if as_json:
        click.echo(json.dumps([life.as_value(one, genesis) for one in found]))
    else:
        click.echo("\n\n".join("\n".join(life.in_words(one, genesis)) for one in found))


def _tell_now(which: str, config_path: Path, as_json: bool) -> None:
    config = load_config(config_path)
    genesis = load_genesis(config.genesis)
    found = asyncio.run(explained(config, genesis, which))
    if not found.found and not found.status:
        raise NodeError(
            f"{which}: nothing like that is out, waits, or ended lately: `waggle pending` shows what there is, and "
            f"`waggle explain --history` what there was"
        )
    shown = [_judged(one, genesis) for one in found.found]
    if as_json:
        click.echo(json.dumps({"height": found.height, "status": found.status, "words": found.words, "found": shown}))
    else:
        click.echo("\n".join(lines_of(found, genesis)))
    if not all(one["is_right"] for one in shown):
        raise NodeError("the bytes are not those of the id or digest in the state: do not sign it, and tell the others")


def lines_of(found: Explained, genesis: Genesis) -> list[str]:
    """For people."""
    lines = [f"{found.words}"] if found.words else []
    for one in found.found:
        lines += [*([""] if lines else []), *_transaction(one, genesis)]
    return lines


def _judged(one: Explanation, genesis: Genesis) -> dict[str, Any]:
    try:
        decoded: Decoded | None = decode(bytes.fromhex(one.tx), genesis.chain)
    except HiveDataError:
        decoded = None
    is_right = decoded is not None and (decoded.txid, decoded.digest) == (one.txid, one.digest)
    return {"is_right": is_right, "decoded": msgspec.to_builtins(decoded), **msgspec.to_builtins(one)}


def _transaction(one: Explanation, genesis: Genesis) -> list[str]:
    payloads = ", ".join(f"p{number}" for number in one.payloads)
    lines = [
        f"group transaction {one.op}: {one.kind} of {payloads}, {one.status}",
        f"  built at block {one.built}, {one.height - one.built} blocks ago; expires {time_to_text(one.expiration)} "
        + (f"(in {span(one.left)})" if one.left > 0 else "(over: its next recast ends it)"),
        *_what(one, genesis),
    ]
    for role in one.roles:
        lines.append(f"  {role.role}: weight {role.collected} of {role.needed}, lacking {role.missing}")
    for signer in one.signers:
        who = signer.account or "nobody's key"
        weight = ", ".join(f"{role} {weight}" for role, weight in signer.weights.items())
        state = f"signed at block {signer.signed}" if signer.signed else "has not signed"
        lines.append(f"    {who:<16} {signer.key} ({weight}) {state}")
    lines += [f"    {refusal.account} refuses: {refusal.why}" for refusal in one.refusals]
    return [*lines, _when(one)]


def _what(one: Explanation, genesis: Genesis) -> list[str]:
    try:
        decoded = decode(bytes.fromhex(one.tx), genesis.chain)
    except HiveDataError as error:
        return [f"  its bytes are no transaction: {error}"]
    right = "as the state has it" if decoded.digest == one.digest else f"NOT THAT OF THE STATE: {one.digest}"
    same = "as the state has it" if decoded.txid == one.txid else f"NOT THAT OF THE STATE: {one.txid}"
    return [
        *(f"  {number}. {words}" for number, words in enumerate(decoded.words, 1)),
        f"  Hive id  {decoded.txid}, from its bytes: {same}",
        f"  digest   {decoded.digest}, from its bytes and chain id {one.chain_id[:8]}...: {right}",
    ]


def _when(one: Explanation) -> str:
    left = f"next recast at block {one.next_recast} (in {span((one.next_recast - one.height) * BLOCK_SECONDS)})"
    if one.status == "ready":
        due = "every member" if one.due == ("*",) else ", ".join(one.due)
        return f"  ready since block {one.ready_at}; may broadcast now: {due}; {left}"
    if one.status == "cancelled":
        return f"  marked by the seats: nobody signs or broadcasts it; whoever has its signatures still can; {left}"
    if one.status == "refused":
        return f"  refused: it waits for its end; {left}"
    return f"  nobody may broadcast it before the weight is there; {left}"
