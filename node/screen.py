"""A node's status on one screen, for people."""

from collections import Counter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.attention import attention, some
from node.log import one_line
from node.span import span
from node.status import Status
from node.transactions import TransactionStatus

#: Lines of one table.
_MOST = 10


def show(status: Status) -> RenderableType:
    """One screen: where the node is, its seat, what is out, who reports, which servers answer, what needs you.

    Nothing is cut where the screen is narrow: ids and addresses stay whole, words go on in the next line.
    """
    parts: list[RenderableType] = [_head(status), Text()]
    if status.transactions:
        title = f"group transactions: {len(status.transactions)} out, {status.waiting} waiting"
        parts += [_title(title), _transactions(status), Text()]
    if status.reports:
        parts += [_title("reports"), _reports(status), Text()]
    if status.servers:
        parts += [_title("API servers"), _servers(status), Text()]
    parts += [_title("what needs you"), _needs(status)]
    return Group(*parts)


def _title(words: str) -> Text:
    return Text(words, style="bold underline")


def _table(whole: str, *columns: str) -> Table:
    """A table whose first column ``whole`` is never broken while the screen has room for it alone."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(whole, no_wrap=True, overflow="fold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _head(status: Status) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = (
        ("node", f"{status.account}, waggle {status.version}, signer {status.signer}"),
        ("group", f"{status.group}, genesis {status.genesis[:16]}, {_whose(status)}"),
        ("height", _height(status)),
        ("root", _root(status)),
        ("report", _REPORT.get(status.round.report, status.round.report)),
        ("seat", _seat(status)),
        ("seats decide", _governed(status)),
    )
    for name, words in rows:
        table.add_row(name, Text(one_line(words)))
    return table


_REPORT = {
    "not_member": "none: this account is not registered",
    "not_due": "not due yet in this round",
    "missing": "due, and not sent",
    "sent": "sent, not on chain yet",
    "on_chain": "on chain",
}


def _whose(status: Status) -> str:
    held = "held by members' keys" if status.groups_own else "still on the founder's key"
    if status.sealed is None:
        return f"{held}, sealed or not is not known yet"
    if status.sealed:
        return f"{held}, sealed"
    when = f" before {status.sealed_at} (seconds since 1970)" if status.sealed_at else ""
    return f"{held}, NOT sealed: the founder can take the account back{when}"


def _governed(status: Status) -> str:
    words = [f"{status.proposals} proposals open (`waggle pending`)"]
    if status.height < status.halted_until:
        words.append(f"payouts HALTED until block {status.halted_until}")
    if status.height < status.held_until:
        words.append(f"rotations HELD until block {status.held_until}")
    if status.held_value > status.worth:
        words.append("the group holds MORE than its safety limit is worth")
    return ", ".join(words)


def _height(status: Status) -> str:
    if status.height < 0:
        return f"waits for block {status.start_block}"
    live = "live" if status.live else "catching up"
    seconds = span(status.seconds_behind)
    return f"{status.height}, irreversible {status.irreversible}, {status.lag} blocks ({seconds}) behind, {live}"


def _root(status: Status) -> str:
    found = status.round
    if status.halted_at is not None:
        return f"HALTED: another root was agreed in the round of {status.halted_at}"
    if found.height < 0:
        return "no tally yet"
    if not found.agreed:
        return f"round {found.height} is open, {found.open_rounds} running"
    own = "our own" if found.on_own_root else "NOT known as our own"
    return f"round {found.height} agreed, {own} root {found.root[:16]}"


def _seat(status: Status) -> str:
    seat = status.seat
    if not seat.member:
        return "not a member"
    words = [f"runner since {seat.since}" if seat.runner else "member without a seat"]
    words += ["leaving"] if seat.leaving else []
    words += [f"missed {seat.missed}"] if seat.missed else []
    words += [f"{seat.marks} marks"] if seat.marks else []
    words.append("key held here" if seat.key_held else "KEY NOT HELD HERE")
    words.append("ripe" if seat.ripe else f"ripe after {seat.tallies_needed} more agreed tallies")
    words += [f"next key {seat.next_key}"] if seat.next_key else []
    words.append("in the group's authority" if seat.signer else "not in the group's authority")
    return ", ".join(words)


def _transactions(status: Status) -> RenderableType:
    table = _table("transaction", "what", "status", "mine", "missing")
    for one in status.transactions:
        table.add_row(*(Text(one_line(cell)) for cell in _cells(one)))
    return table


def _cells(one: TransactionStatus) -> tuple[str, ...]:
    more = f" and {one.payload_count - 1} more" if one.payload_count > 1 else ""
    due = ", due: " + ("every member" if one.due == ("*",) else ", ".join(one.due)) if one.due else ""
    weight = ", ".join(f"{role.role} {role.collected}/{role.needed}" for role in one.roles)
    return (
        one.op,
        (one.payloads[0] if one.payloads else one.kind) + more,
        f"{one.status}{due}, {weight}, {span(one.age_seconds)} old, expires in {span(max(0, one.expires_in))}",
        one.mine + (f": {one.why}" if one.why else ""),
        some(one.missing) + "".join(f" ({note.account} refuses: {note.why})" for note in one.refusals),
    )


def _reports(status: Status) -> RenderableType:
    """How many agreed; each runner by name who did not, or whose version is not that of most."""
    versions = Counter(report.version for report in status.reports)
    usual = versions.most_common(1)[0][0]
    agreed = sum(report.agreed for report in status.reports)
    others = [report for report in status.reports if not report.agreed or report.version != usual]
    head = Text(
        f"{agreed} of {len(status.reports)} runners agreed in the last round, most run {usual or 'no version yet'}"
    )
    if not others:
        return head
    table = _table("runner", "version", "last round", "missed")
    for report in others[:_MOST]:
        word = "agreed" if report.agreed else "-"
        table.add_row(*(Text(one_line(cell)) for cell in (report.account, report.version, word, str(report.missed))))
    if len(others) > _MOST:
        table.add_row(f"and {len(others) - _MOST} more")
    return Group(head, table)


def _servers(status: Status) -> RenderableType:
    """The table, and below it why a server is not good: an error may be long."""
    table = _table("server", "operator", "standing")
    for server in status.servers:
        words = f"{server.standing}, score {server.score}, answers in {server.seconds:.2f} s, {server.behind} behind"
        table.add_row(*(Text(one_line(cell)) for cell in (server.url, server.operator, words)))
    reasons = [Text(one_line(f"{one.url}: {one.why}"), overflow="fold") for one in status.servers if one.why]
    return Group(table, *reasons)


def _needs(status: Status) -> RenderableType:
    found = attention(status)
    if not found:
        return Text("all is well", style="green")
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(overflow="fold")
    for one in found:
        table.add_row(Text("!", style="red"), Text(one.what))
        table.add_row("", Text(one.remedy, style="dim"))
    return table
