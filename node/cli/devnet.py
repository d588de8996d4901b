"""`waggle devnet`."""

import asyncio
import json
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from node.devnet.catalogue import SCENARIOS
from node.devnet.cluster import Cluster
from node.devnet.display import watcher
from node.devnet.manners import MANNERS, Manner, manner
from node.devnet.node_files import operator
from node.devnet.running import run_scenario


def _manners(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[Manner, ...]:
    """How each API server answers, of NAME or NAME:NUMBER."""
    try:
        return tuple(manner(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


@click.command()
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(5, 25), help="Members at the beginning.")
@click.option("--interval", default=50, show_default=True, type=click.IntRange(5, 3000), help="Milliseconds a block.")
@click.option("--lag", default=1, show_default=True, type=click.IntRange(0, 300), help="Blocks until irreversible.")
@click.option("--rounds", default=0, type=click.IntRange(0), help="Go on until so many rounds (of 20 blocks) are over.")
@click.option(
    "--scenario",
    default="found",
    show_default=True,
    type=click.Choice([*SCENARIOS, "all"]),
    help="What the group is put through; all = each in turn.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything here: genesis.toml, node logs, api.log, chain/blocks.json. It must be empty.",
)
@click.option(
    "--api",
    "apis",
    multiple=True,
    callback=_manners,
    metavar="MANNER",
    help=f"One API server, which answers so; name it again for each more. One of: {', '.join(MANNERS)}. "
    "Without it, two honest ones, or what the scenario needs.",
)
@click.option(
    "--keep-running",
    "--stay",
    "stay",
    is_flag=True,
    help="Go on after the scenario until Ctrl-C, with an account for a newcomer: to join by hand.",
)
@click.option("--json", "as_json", is_flag=True, help="The last line on standard output is a summary for machines.")
def devnet(
    nodes: int,
    interval: int,
    lag: int,
    rounds: int,
    scenario: str,
    data: Path | None,
    apis: tuple[Manner, ...],
    stay: bool,
    as_json: bool,
) -> None:
    """Start a Hive of your own and a group of node processes on it, and watch them hold an account together.

    \b
    found        the group takes over its account and pays a standing payout
    join         two more members register, win seats, their keys rotate in
    leader-dies  the leader is killed at the worst moment, a recast takes over
    absent       two of five stop for good, their keys rotate out
    expire       a payout's signatures are withheld until it expires; it is paid once
    servers      one of three API servers lies and one is slow; every node bans the liar
    treasury     income, proposals, a merged payout, limits, what Hive refuses; nodes die meanwhile
    halt         a third halts the payouts, more than half resumes; a transaction is marked

    Example:  waggle devnet --scenario all --json
    """
    if data is not None and data.exists() and any(data.iterdir()):
        raise click.UsageError(f"{data} is not empty: name a new folder")
    if stay and scenario == "all":
        raise click.UsageError("--keep-running goes on after one scenario: name it with --scenario")
    console = Console(stderr=as_json)
    names = list(SCENARIOS) if scenario == "all" else [scenario]
    with tempfile.TemporaryDirectory(prefix="waggle-devnet-") as scratch:
        base = data or Path(scratch)
        summaries = []
        for name in names:
            folder = base / name if scenario == "all" else base
            found = asyncio.run(
                run_scenario(
                    name,
                    folder,
                    nodes=nodes,
                    interval=interval / 1000,
                    lag=lag,
                    rounds=rounds,
                    watch=watcher(console, f"waggle devnet: {name}"),
                    apis=apis,
                    stay=partial(_stay, console) if stay else None,
                )
            )
            summaries.append(found)
            _tell(console, found)
    ok = all(found["ok"] for found in summaries)
    if as_json:
        click.echo(json.dumps(summaries[0] if scenario != "all" else {"ok": ok, "scenarios": summaries}))
    sys.exit(0 if ok else 1)


async def _stay(console: Console, cluster: Cluster) -> None:
    """Say what a newcomer needs, and go on until Ctrl-C."""
    lines = [f"  API {operator(index):<10} {url}" for index, url in enumerate(cluster.urls)]
    lines.append(f"  genesis        {cluster.folder / 'genesis.toml'}")
    if cluster.guest is not None:
        lines.append(f"  to join with   {cluster.guest.account}, its active key in {cluster.guest_key(cluster.guest)}")
    lines.append("The group goes on until Ctrl-C.")
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


def _tell(console: Console, found: dict[str, Any]) -> None:
    """The end of a scenario in words."""
    verdict = "[green]passed[/green]" if found["ok"] else f"[red]failed[/red]: {found['failure']}"
    console.print(f"{found['scenario']}: {verdict} in {found['seconds']} s", soft_wrap=True)
    for kind in ("rotations", "payouts"):
        for end in found[kind]:
            what = f"{kind[:-1]} {end['txid']} confirmed in block {end['confirmed']}"
            console.print(f"  {what}, {end['blocks']} blocks after it was queued", soft_wrap=True, highlight=False)
    active = found["authority"]["active"]
    console.print(f"  {found['group']} is held by {active['weight_threshold']} of {len(active['key_auths'])} keys")
