"""The verdict as a page: one file without scripts, fonts or pictures from elsewhere, for people who do not program.

All that comes from the chain is a stranger's text: it is escaped where it is written (node/audit/page_html.py). Each
part bounds what it shows, and says what it leaves out; the same verdict gives the same bytes.
"""

from html import escape

from node.audit.charts import Span
from node.audit.page_html import esc
from node.audit.page_payloads import payloads
from node.audit.page_rounds import agreement, attendance
from node.audit.page_signers import signers
from node.audit.page_style import STYLE
from node.audit.page_tables import tables
from node.audit.page_top import deviations, top
from node.audit.page_treasury import treasury
from node.audit.verdict import Verdict

#: Nothing is loaded and nothing runs, whatever somebody manages to write into it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_PARTS = {
    "attendance": "Reports",
    "agreement": "Agreement",
    "payloads": "From wish to deed",
    "signers": "Signers",
    "treasury": "Treasury",
    "accounts": "Accounts",
    "transactions": "Group transactions",
    "operations": "Operations",
    "witnesses": "Witnesses",
}
_HATCH = (
    '<svg class="defs" aria-hidden="true"><defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse">'
    '<path class="hatch" d="M-1 8L8 -1M-2 2L2 -2M5 9L9 5"/></pattern></defs></svg>'
)


def page(verdict: Verdict) -> str:
    """The whole page."""
    span = Span(verdict.first, max(verdict.height, verdict.first), verdict.timestamp)
    parts = [
        top(verdict, span),
        _contents(verdict),
        "<main>\n",
        deviations(verdict),
        attendance(verdict, span),
        agreement(verdict, span),
        payloads(verdict, span),
        signers(verdict, span),
        treasury(verdict, span),
        tables(verdict),
        "</main>\n",
        _foot(),
    ]
    return _head(verdict) + "".join(parts) + "</body></html>\n"


def _head(verdict: Verdict) -> str:
    word = "good" if verdict.good else "not good"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{esc(verdict.group, 40)}: {word}, up to block {verdict.height:,}</title>"
        f"<style>{STYLE}</style></head>\n<body>{_HATCH}\n"
    )


def _contents(verdict: Verdict) -> str:
    named = ({"deviations": "Deviations"} if verdict.deviations else {}) | _PARTS
    links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in named.items())
    return f'<nav aria-label="Parts of this page"><ul>{links}</ul></nav>\n'


def _foot() -> str:
    told = (
        "Times of day are counted back from the last block at three seconds a block, and are about right. Charts sum "
        "up what lies in one column; the verdict as JSON (waggle replay --report verdict.json) holds everything, but "
        "for deviations, of which it keeps the first of each kind."
    )
    return f'<footer><p class="note">{escape(told)}</p></footer>\n'
