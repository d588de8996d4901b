"""The live view of a devnet: what happens, in one screen."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table

from node.devnet.cluster import Cluster
from node.devnet.founding import GROUP
from node.devnet.watching import chain_authority, holds_wanted
from node.governance import known_value
from processors.recast import due_accounts
from state.schema import HEADERS, NODE, REPORT, ROUND, RUNNER, TALLY


def screen(cluster: Cluster, title: str) -> RenderableType:
    """One picture of the group as it is now."""
    if not hasattr(cluster, "observer") or not cluster.observer.height:
        return Panel(f"Hive at block {cluster.chain.head_number}; the group begins soon", title=title)
    return Panel(Group(_head(cluster), _members(cluster), _records(cluster)), title=title)


def _head(cluster: Cluster) -> RenderableType:
    observer = cluster.observer
    state, params = observer.state, observer.genesis.params
    tally = state.need(TALLY)
    found = state.get(ROUND, max(0, tally.height - params.round_length))
    agreed = found.root.hex()[:16] if found is not None and found.root is not None else "none yet"
    asked = state.need(HEADERS).asked
    active = chain_authority(cluster, "active")
    held = holds_wanted(cluster)
    # protocol section 12: whoever satisfied owner within 30 days can take the account back
    own = "the wanted ones, not sealed: still recoverable by the founder" if held else "not the wanted ones yet"
    known, worth, is_over = known_value(state, params)
    warning = f"   WARNING: it holds {known}, more than its safety limit is worth ({worth})" if is_over else ""
    lines = [
        f"height {observer.height} (head {cluster.chain.head_number})   round {observer.height // params.round_length}"
        f"   agreed {observer.rounds_agreed}, open {observer.rounds_open}   last agreed root {agreed}",
        f"{GROUP}: active {active.threshold} of {len(active.keys)} keys, {own}   safety limit {tally.limit}{warning}"
        f"   header of block {asked.height if asked else '-'}",
        f"confirmed: {len(observer.confirmed('rotation'))} rotations, {len(observer.confirmed('payout'))} payouts"
        + "".join(
            f"\n  {e.kind} {e.done.txid.hex()[:16] if e.done.txid else ''} at {e.done.height}, "
            f"{e.done.height - e.queued} blocks after it was queued"
            for e in (observer.confirmed("rotation") + observer.confirmed("payout"))[-4:]
        ),
    ]
    return "\n".join(lines)


def _members(cluster: Cluster) -> RenderableType:
    state = cluster.observer.state
    table = Table(box=None, header_style="bold")
    for column in ("member", "process", "seat", "reported", "ripe", "in authority"):
        table.add_column(column)
    keys = {key for key, _ in chain_authority(cluster, "active").keys}
    for (account,), member in state.walk(NODE):
        process = cluster.running.get(str(account))
        seat = state.get(RUNNER, account)
        table.add_row(
            str(account),
            f"pid {process.pid}" if process is not None else "stopped",
            "-" if seat is None else f"since {seat.since}, missed {seat.missed}",
            "yes" if state.get(REPORT, account) is not None else "",
            "yes" if member.ripe_key == member.signing_key else f"{member.count} rounds",
            "yes" if member.signing_key in keys else "",
        )
    return table


def _records(cluster: Cluster) -> RenderableType:
    table = Table(box=None, header_style="bold")
    for column in ("group transaction", "kind", "status", "signed", "missing", "may broadcast"):
        table.add_column(column)
    for op, record, signed, missing in cluster.observer.records():
        due = due_accounts(record) if record.status == "ready" else ()
        table.add_row(
            op,
            record.kind,
            record.status + (f" since {record.ready_at}" if record.ready_at else ""),
            ", ".join(signed),
            ", ".join(missing),
            "every member" if due is None else ", ".join(due),
        )
    return table


def watcher(console: Console, title: str) -> Callable[[Cluster], Coroutine[Any, Any, None]]:
    """A task that shows the devnet until it is cancelled: live on a terminal, a line a round elsewhere."""

    async def watch(cluster: Cluster) -> None:
        if console.is_terminal:
            with Live(console=console, refresh_per_second=8, get_renderable=lambda: screen(cluster, title)):
                await asyncio.Event().wait()
        last = -1
        while True:
            await asyncio.sleep(0.2)
            number = (
                cluster.observer.rounds_agreed + cluster.observer.rounds_open if hasattr(cluster, "observer") else -1
            )
            if number > last and cluster.observer.height:
                last = number
                observer = cluster.observer
                console.print(
                    f"{title}: height {observer.height}, agreed {observer.rounds_agreed}, open {observer.rounds_open}, "
                    f"{len(observer.confirmed('rotation'))} rotations and {len(observer.confirmed('payout'))} payouts "
                    f"confirmed, runners {', '.join(observer.runners())}",
                    highlight=False,
                    soft_wrap=True,
                )

    return watch
