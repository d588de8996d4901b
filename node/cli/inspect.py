"""`waggle inspect`: what stands in the state, readable, also of a node that is halted or stopped."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import msgspec

from node.assembly import load_genesis
from node.cli.key_options import json_option
from node.cli.opened import config_option, opened, working
from node.config import Config, load_config
from node.control import CONTROL
from node.control import status as ask
from node.errors import NodeError
from node.sync.peer import open_peer
from node.sync.readable import read_key, shown_entry, shown_key, shown_value
from processors.genesis import Genesis
from state.errors import StoreLockedError
from state.schema import MS, ROUND, SIG, SINGLETONS, TABLES
from state.state import State
from state.table import Key, Table

_ROUNDS = 5
_SECONDS = 10.0


@click.command("inspect")
@click.argument("table", required=False)
@click.argument("key", nargs=-1)
@config_option
@click.option("--height", type=click.IntRange(min=0), help="As it was after this block; some 2,400 can be gone back.")
@click.option("--most", default=200, show_default=True, type=click.IntRange(min=1), help="Entries that are shown.")
@json_option
def inspect_command(
    table: str | None, key: tuple[str, ...], config_path: Path, height: int | None, most: int, as_json: bool
) -> None:
    """Show entries of a TABLE of the state, those whose key begins with KEY; without TABLE an overview.

    It works while the node is stopped, whatever stopped it, and changes nothing. Of a running node it shows the
    overview and single entries. Exit 0: shown. 1: it cannot be, and it is said why.

    Example:  waggle inspect node alice --config /etc/waggle/config.toml
    """
    config = load_config(config_path)
    genesis = load_genesis(config.genesis)
    at = read_key(table, key, genesis) if table is not None else None
    try:
        with opened(config, genesis) as state, working("reading the state"):
            if height is not None and height != state.height:
                state.rewind(height)  # in memory only: see opened
            body = overview_of(state, genesis) if at is None else entries_of(state, at, most, genesis)
    except StoreLockedError as error:
        if height is not None:
            raise NodeError("the node runs, and shows its newest state only: stop it, or leave --height out") from error
        body = asyncio.run(_of_running(config, genesis, at))
    click.echo(json.dumps(body) if as_json else text_of(body))


def entries_of(state: State, at: tuple[Table[Any], Key], most: int, genesis: Genesis) -> dict[str, Any]:
    """The entries of a table whose key begins so."""
    table, start = at
    prefix = genesis.chain.address_prefix
    found: list[dict[str, Any]] = []
    more = 0
    tables = [one for one in SINGLETONS if one.name == table.name and not start] or [table]
    for one in tables:
        key = one.fixed or start
        whole = len(key) == len(one.fields)
        value = state.get(one, *key) if whole else None
        entries = ([(key, value)] if value is not None else []) if whole else state.walk(one, *start)
        for fields, content in entries:
            if len(found) < most:
                found.append({"key": shown_key(fields, prefix), "value": shown_value(content, prefix)})
            else:
                more += 1
    return {"height": state.height, "table": table.name, "entries": found, "more": more}


def overview_of(state: State, genesis: Genesis) -> dict[str, Any]:
    """Where the state is, the last rounds, what is out, how many entries each table has."""
    prefix = genesis.chain.address_prefix
    meta = {str(one.fixed[0]): shown_value(state.get(one), prefix) for one in SINGLETONS}
    rounds = [{"start": key[0], **(shown_value(value, prefix) or {})} for key, value in state.walk(ROUND)]
    out = []
    for (op,), record in state.walk(MS):
        signed = [shown_key(key, prefix)[1] for key, _ in state.walk(SIG, op)]
        out.append({"op": op, **(shown_value(record, prefix) or {}), "signed": signed})
    tables = {table.name: sum(1 for _ in state.walk(table)) for table in TABLES}
    kept = {"oldest_rewind": state.oldest_rewind, "trees_at": state.round_height}
    return {"height": state.height, **kept, "meta": meta, "rounds": rounds[-_ROUNDS:], "out": out, "tables": tables}


async def _of_running(config: Config, genesis: Genesis, at: tuple[Table[Any], Key] | None) -> dict[str, Any]:
    """What a running node tells through its control socket."""
    control, prefix = config.data / CONTROL, genesis.chain.address_prefix
    async with open_peer(control, name="this node", seconds=_SECONDS) as node:
        if at is not None:
            table, key = at
            if len(key) != len(table.fields):
                fields = " ".join(kind.__name__ for kind in table.fields)
                raise NodeError(
                    f"the node runs, and shows single entries of {table.name} only: name the whole key ({fields}), or "
                    f"stop the node; `waggle status` shows how it is"
                )
            packed = table.key(key)
            height, raw = await node.value(table.name, packed)
            shown, value = shown_entry(table.name, packed, raw, prefix)
            entries = [{"key": shown, "value": value}] if raw is not None else []
            return {"height": height, "table": table.name, "entries": entries, "more": 0}
        meta = {}
        height = -1
        for one in SINGLETONS:
            height, raw = await node.value(one.name, one.key(one.fixed))
            meta[str(one.fixed[0])] = shown_entry(one.name, one.key(one.fixed), raw, prefix)[1]
    status = await ask(control)
    out = [msgspec.to_builtins(one) for one in status.transactions]
    return {"height": height, "meta": meta, "rounds": [msgspec.to_builtins(status.round)], "out": out}


def text_of(body: dict[str, Any]) -> str:
    """For people; texts from the chain cannot play with the terminal."""
    lines = [f"after block {body['height']}"]
    if "table" in body:
        for entry in body["entries"]:
            lines += ["", f"{body['table']} {_word(entry['key'])}", *_fields(entry["value"])]
        if not body["entries"]:
            lines.append(f"{body['table']} has no such entry")
        if body["more"]:
            lines.append(f"and {body['more']} more: see --most, or write the beginning of the key")
        return "\n".join(lines)
    for name, value in body["meta"].items():
        lines += ["", f"meta {name}", *_fields(value)]
    for one in body["rounds"]:
        lines += ["", "round", *_fields(one)]
    for one in body["out"]:
        lines += ["", "group transaction", *_fields(one)]
    counts = body.get("tables", {})
    lines += ["", "tables", *(f"  {name}: {count} entries" for name, count in counts.items())] if counts else []
    return "\n".join(lines)


def _fields(value: dict[str, Any] | None) -> list[str]:
    return [f"  {name}: {_word(field)}" for name, field in (value or {}).items()] or ["  (none)"]


def _word(value: Any) -> str:
    if isinstance(value, str):
        return ascii(value)[1:-1]
    if isinstance(value, list) and value and all(not isinstance(item, (list, dict)) for item in value):
        return " ".join(_word(item) for item in value)
    return json.dumps(value)
