"""`waggle prove` and `waggle verify-proof`: an entry of the state, for somebody who runs nothing."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import click

from node.assembly import load_genesis
from node.audit.proof import MOST_BYTES, Proven, chain_differs, read, sets_authority, verify, write
from node.audit.proving import prove
from node.cli.history_options import Where, genesis_option, history_of, history_options, is_named, optional_history
from node.cli.key_options import FILE, json_option
from node.cli.progress import progress
from node.errors import ApiError, NodeError
from node.feed.http import Http
from node.feed.rpc import Api
from node.feed.source import fetch_texts
from node.files import DISK
from node.history.past import looked_at
from node.history.source import History
from node.sync.readable import read_key, shown_key, shown_value
from processors.genesis import Genesis
from processors.hive.block import read_block
from processors.hive.errors import HiveDataError


@click.command("prove")
@click.argument("table")
@click.argument("key", nargs=-1)
@click.option("--height", required=True, type=click.IntRange(min=0), help="The end of a round.")
@click.option("--out", required=True, type=FILE, help="The file to write.")
@genesis_option
@history_options
@click.option("--snapshots", type=FILE, help="Begin with the nearest snapshot of this folder, not with the genesis.")
@json_option
def prove_command(
    table: str,
    key: tuple[str, ...],
    height: int,
    out: Path,
    genesis_path: Path,
    where: Where,
    snapshots: Path | None,
    as_json: bool,
) -> None:
    """Write a proof of one entry of the state, or that there is none, after block HEIGHT.

    The proof holds the Hive transactions in which members reported the root that it leads to. Who checks it needs the
    genesis document, and Hive. Exit 0: written. 1: it cannot be made, and it is said why.

    Example:  waggle prove balance alice --height 101000200 --genesis g.toml --archive /srv/blocks --out alice.proof
    """
    genesis = load_genesis(genesis_path)
    wanted, fields = read_key(table, key, genesis)
    if len(fields) != len(wanted.fields):
        raise click.UsageError(f"a proof is of one entry: write all {len(wanted.fields)} fields of a key of {table}")
    total = height - genesis.start_block + 1
    with history_of(where, genesis) as history, progress("replaying", total, quiet=as_json) as advance:
        made = prove(history, genesis, wanted, fields, height, advance, snapshots)
    shown = verify(made, genesis)
    if not shown.weighed.is_enough:
        words = f"{shown.weighed.weight} of {shown.weighed.total}, {shown.weighed.needed} are needed"
        raise NodeError(
            f"too few reported the root of {height} with keys of the authority ({words}): take another round"
        )
    raw = write(made)
    try:
        DISK.replace(out, raw)
    except OSError as error:
        raise NodeError(f"{out}: {error.strerror}: the proof could not be written") from error
    body = {"file": str(out), "bytes": len(raw), **_body(shown, genesis, "")}
    click.echo(json.dumps(body) if as_json else "\n".join([f"{out}: {len(raw):,} bytes", *_words(shown, genesis)]))


@click.command("verify-proof")
@click.argument("file", type=FILE)
@genesis_option
@optional_history
@click.option("--api", "apis", multiple=True, metavar="URL", help="Look the blocks up there; may be given again.")
@click.option("--offline", is_flag=True, help="Do not look the blocks up: somebody could have made them up.")
@json_option
def verify_command(
    file: Path, genesis_path: Path, where: Where, apis: tuple[str, ...], offline: bool, as_json: bool
) -> None:
    """Check a proof: the way to its root, who reported that root on Hive, and that Hive has these blocks.

    The blocks are looked up at servers (--api), or in an archive, a block_log, a HAF database. Exit 0: it holds. 1: it
    does not, and it is said why.

    Example:  waggle verify-proof alice.proof --genesis g.toml --api https://api.hive.blog --api https://api.deathwing.me
    """
    genesis = load_genesis(genesis_path)
    if sum((is_named(where), bool(apis), offline)) != 1:
        raise click.UsageError(
            "say where the blocks are looked up: --api URL (better two), --archive, ... or --offline"
        )
    try:
        raw = file.read_bytes() if file.stat().st_size <= MOST_BYTES else bytes(MOST_BYTES + 1)
    except OSError as error:
        raise NodeError(f"{file}: {error.strerror}") from error
    shown = verify(read(raw), genesis)
    if not shown.weighed.is_enough:
        words = f"of {shown.weighed.total} stand behind the root, {shown.weighed.needed} are needed"
        raise NodeError(f"keys with a weight of {shown.weighed.weight} {words}: the proof shows nothing")
    looked_up = "" if offline else _look_up(shown, genesis, where, apis, quiet=as_json)
    body = _body(shown, genesis, looked_up)
    lines = [*_words(shown, genesis), f"blocks     {looked_up}" if looked_up else _OFFLINE]
    click.echo(json.dumps(body) if as_json else "\n".join(lines))


_OFFLINE = (
    "NOT LOOKED UP: the signatures hold, but whether Hive has these blocks was not asked. Whoever once held more than "
    "half of the group's keys could have made them up"
)


def _set_later(shown: Proven, genesis: Genesis, history: History, *, quiet: bool) -> int:
    """The block that replaced the proof's authority before the proven height; 0 if none did."""
    since = shown.authority_set.number if shown.authority_set is not None else genesis.start_block
    if since >= shown.height:
        return 0
    with progress("looking for later authorities", shown.height - since, quiet=quiet) as advance:
        for block, _ in looked_at(history, genesis, since + 1, shown.height, prove=False):
            if sets_authority(block, genesis):
                return block.number
            if block.number % 1_000 == 0:
                advance(block.number - since)
    return 0


def _look_up(shown: Proven, genesis: Genesis, where: Where, apis: tuple[str, ...], *, quiet: bool) -> str:
    """Hold the proof's blocks against those of the chain. Raises NodeError."""
    if not apis:
        with history_of(where, genesis) as history:
            ids = [(number, next(history.blocks(number, number)).id) for number in sorted(shown.blocks)]
            wrong, named = chain_differs(shown, iter(ids)), history.name
            later = _set_later(shown, genesis, history, quiet=quiet) if not wrong else 0
        if later:
            raise NodeError(f"block {later} set another authority before {shown.height}: the proof names an old one")
    else:
        wrong, named = asyncio.run(_ask(shown, genesis, apis)), ", ".join(apis)
    if wrong:
        raise NodeError("the proof leans on blocks that Hive does not have: " + "; ".join(wrong))
    return f"{len(shown.blocks)} blocks are those of {named}"


async def _ask(shown: Proven, genesis: Genesis, apis: tuple[str, ...]) -> list[str]:
    """What servers have otherwise; all of them must answer. Raises ApiError."""
    wrong = []
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        for url in apis:
            api = Api(url, url, Http(session), "")
            for number in sorted(shown.blocks):
                [text] = await fetch_texts(api, number, 1)
                try:
                    block = read_block(text, genesis.chain)
                except HiveDataError as error:
                    raise ApiError(f"{url}: block {number}: {error}") from error
                wrong += [f"{url}: {one}" for one in chain_differs(shown, iter([(number, block.id)]))]
    return wrong


def _body(shown: Proven, genesis: Genesis, looked_up: str) -> dict[str, Any]:
    prefix = genesis.chain.address_prefix
    weighed = shown.weighed
    return {
        "height": shown.height,
        "root": shown.root.hex(),
        "table": shown.table.name,
        "key": shown_key(shown.key, prefix),
        "value": shown_value(shown.value, prefix),
        "weight": weighed.weight,
        "needed": weighed.needed,
        "total": weighed.total,
        "holds": weighed.is_enough,
        "reports": [
            {"account": said.account, "block": where.number, "txid": where.txid.hex()} for said, where in shown.reports
        ],
        "authority_set": shown.authority_set.txid.hex() if shown.authority_set is not None else "by the genesis",
        "looked_up": looked_up,
    }


def _words(shown: Proven, genesis: Genesis) -> Iterator[str]:
    """For people."""
    body = _body(shown, genesis, "")
    yield f"after block {shown.height} of {genesis.group}, {shown.table.name} {' '.join(map(ascii, body['key']))}:"
    if body["value"] is None:
        yield "  there is no such entry"
    for name, value in (body["value"] or {}).items():
        yield f"  {name}: {ascii(value) if isinstance(value, str) else json.dumps(value)}"
    yield f"root       {shown.root.hex()}"
    yield f"said by    {body['weight']} of {body['total']} of the account's active authority, {body['needed']} needed"
    for report in body["reports"]:
        yield f"  {report['account']:<16} in block {report['block']}, Hive transaction {report['txid']}"
    yield f"authority  set {body['authority_set'] if shown.authority_set is None else 'by ' + body['authority_set']}"
