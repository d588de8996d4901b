"""The head of the page: the verdict, what it rests on, and every kind of deviation by name."""

from collections import Counter
from collections.abc import Iterator

from node.audit.charts import Span
from node.audit.findings import KINDS, Finding
from node.audit.page_html import (
    HASH,
    WORD,
    Cell,
    Raw,
    code,
    facts,
    lasting,
    left_out,
    line,
    said,
    section,
    table,
    who,
    wide,
)
from node.audit.verdict import Verdict
from node.span import plural

#: So many deviations are shown, and of one kind.
_MOST, _MOST_OF_A_KIND = 200, 20


def top(found: Verdict, span: Span) -> str:
    """The verdict in a sentence, and the facts that belong to it."""
    return (
        f'<header><p class="over">Waggle: a history replayed</p><h1>The group {said(found.group, WORD)}</h1>'
        f"{_word(found)}{_caveat(found)}{facts(_facts(found, span))}</header>\n"
    )


def _word(found: Verdict) -> str:
    count = sum(found.deviations.values())
    if found.good:
        told = "Everything that was reported, signed and sent is what the rules make of this history."
        return f'<div class="word" role="status"><b>Good: nothing deviates</b>{told}</div>'
    words = plural(count, "deviation")
    told = f"{plural(len(found.deviations), 'kind')} of them, named below." if count else ""
    if found.height != found.wanted:
        words = f"Not reached: block {found.wanted:,}" + (f", and {words}" if count else "")
        told = f"The history could be followed to block {found.height:,} only. {told}"
    return f'<div class="word bad" role="status"><b>{words}</b>{told}</div>'


def _caveat(found: Verdict) -> str:
    if not found.caveat:
        return ""
    return f'<div class="caveat" role="note"><b>Caveat:</b> {said(found.caveat, 1_000)}</div>'


def _facts(found: Verdict, span: Span) -> Iterator[tuple[str, Cell]]:
    yield "Group", found.group
    yield "Genesis", code(found.genesis)
    yield "Source", found.source
    dates = [date for date in (span.date(found.first), span.date(found.height)) if date]
    about = f", about {dates[0]} to {dates[1]} UTC" if len(dates) == 2 else ""
    wide = f" ({found.blocks:,} blocks, {lasting(found.blocks)} at 3 s each{about})"
    yield "Blocks", f"{found.first:,} to {found.height:,}{wide}"
    yield "Asked for", f"block {found.wanted:,}"
    root = f"{code(found.root)} of block {found.root_height:,}" if found.root else "none yet"
    yield "Last root", Raw(root)
    yield "Round", plural(found.round_length, "block")
    yield "Checked", "; ".join(_checked(found))
    unchecked = "; ".join(_unchecked(found))
    if unchecked:
        yield "Not checked", unchecked
    yield "Replayed in", f"{found.seconds:,.1f} s"


def _checked(found: Verdict) -> Iterator[str]:
    checks = found.checks
    yield "links and ids of all blocks"
    if checks.merkle and not found.caveat:
        yield "their Merkle roots"
    if checks.signatures:
        yield f"the signatures of {plural(len(found.witnesses), 'witness', 'witnesses')} and of the group's operations"
    if checks.snapshots:
        yield plural(checks.snapshots, "snapshot")
    if checks.trusted:
        yield plural(checks.trusted, "root that was given", "roots that were given")
    yield "every report, signature and group transaction against the state that comes out"


def _unchecked(found: Verdict) -> Iterator[str]:
    if not found.checks.merkle or found.caveat:
        yield "the Merkle roots of all blocks"
    if not found.checks.signatures:
        yield "the witnesses' signatures"


def deviations(found: Verdict) -> str:
    """What is not as it must be; counts for all of it, words for the first of each kind."""
    if not found.deviations:
        return ""
    kept = Counter(one.kind for one in found.findings)
    shown: Counter[str] = Counter()
    some: list[Finding] = []
    each = max(1, min(_MOST_OF_A_KIND, _MOST // len(found.deviations)))
    for one in found.findings:
        if shown[one.kind] < each and len(some) < _MOST:
            shown[one.kind] += 1
            some.append(one)
    kinds = [_kind(kind, count, kept[kind], shown[kind]) for kind, count in found.deviations.items()]
    heads = ("Kind", "Protocol section", "What it means", "Count", "Kept in the JSON", "Shown below")
    return section(
        "deviations",
        "Deviations",
        "Each line is something in this history that the rules do not allow, with the place in Hive where it stands.",
        table("Kinds of deviations", heads, kinds, fold=False),
        table(
            "Deviations in the order of the chain",
            ("Block", "Kind", "Section", "Account", "What is wrong", "Hive transaction"),
            (_finding(one) for one in some),
            fold=False,
            note=left_out(
                len(some), sum(found.deviations.values()), "deviations", "the table above says of which kind"
            ),
        ),
    )


def _kind(kind: str, count: int, kept: int, shown: int) -> tuple[Cell, ...]:
    number, meaning = KINDS.get(kind, ("", ""))
    return code(kind, WORD), number, wide(meaning), count, kept, shown


def _finding(one: Finding) -> tuple[Cell, ...]:
    txid = code(one.txid, HASH) if one.txid else Raw("–")
    account = who(one.account)
    return line(f"{one.height:,}"), code(one.kind, WORD), one.section, account, wide(one.words), txid
