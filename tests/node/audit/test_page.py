"""The page of a verdict: whole and well-formed, harmless whatever strangers write, bounded whatever the history."""

import random
import re
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from node.audit.charts import Span, area, band, buckets, steps, ticks
from node.audit.findings import KEPT, KINDS, Finding
from node.audit.page import POLICY, page
from node.audit.page_html import esc, lasting, minutes, percent, units
from node.audit.payloads import Held, SignersFrom, Wanted
from node.audit.reports import RoundSeen
from node.audit.transactions import Signed
from node.audit.verdict import Account, GroupTransaction
from tests.node.audit.plants import PLANTS
from tests.node.audit.play import Play, audit

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr", "base", "source"}
SCRIPT, IMAGE = "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MOST = 3_000_000


class Parsed(HTMLParser):
    """Tags, attributes, texts and ids of a page; every tag must be closed in its order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.texts, self.ids = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self._seen(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self._seen(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def _seen(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    @property
    def text(self):
        return " ".join(self.texts)


def checked(text):
    """The page, parsed, after all that must hold for any of them."""
    found = Parsed(text)
    assert text.startswith("<!DOCTYPE html>") and len(text.encode()) < MOST
    assert {"script", "img", "link", "iframe", "object", "base", "form", "image", "use"}.isdisjoint(found.tags)
    names = {name for _, name, _ in found.attributes}
    assert not {name for name in names if name.startswith("on")} and "src" not in names
    assert all(value.startswith("#") for _, name, value in found.attributes if name in ("href", "xlink:href"))
    assert not re.search(r"url\((?!#)|@import|//", text.split("</style>")[0])
    assert POLICY in [value for tag, name, value in found.attributes if tag == "meta" and name == "content"]
    assert len(found.ids) == len(set(found.ids))
    labels = {one for _, name, value in found.attributes if name == "aria-labelledby" for one in value.split()}
    assert labels <= set(found.ids)
    assert found.tags.count("table") == found.tags.count("caption")
    for drawing in drawings(text):
        assert drawing.get("aria-hidden") == "true" or [one.tag for one in drawing[:2]] == ["title", "desc"]
    return found


def drawings(text):
    """Each inline SVG, through an XML parser."""
    return [ET.fromstring(one) for one in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def strip_of(text, account):
    """The paths of an account's strip by class."""
    [found] = [one for one in drawings(text) if one.findtext("title") == f"Reports of {account} over time"]
    return {path.get("class"): path.get("d") for path in found.iter("path")}


@pytest.fixture(scope="module")
def honest():
    play = Play()
    for _ in range(5):
        play.round_end()
    return audit(play.blocks, play.stage.genesis)[1]


def test_an_honest_group(honest):
    text = page(honest)
    found = checked(text)
    assert "Good: nothing deviates" in found.text and "Caveat" not in found.text
    assert "deviations" not in found.ids
    for told in (honest.group, honest.genesis, honest.source, honest.root, *honest.accounts, *honest.witnesses):
        assert told in found.text
    for told in (one.txid for one in honest.transactions):
        assert told in found.text
    for key, _, _ in honest.signers[0].keys:
        assert key in found.text
    assert set(strip_of(text, "runner01")) == {"agreed"}


def test_the_same_verdict_gives_the_same_bytes(honest):
    assert page(honest) == page(honest)


@pytest.mark.parametrize("name", ["link-broken", "false-root", "two-reports", "too-few-signatures", "recovery-asked"])
def test_a_deviation_is_named(name, tmp_path):
    planted = PLANTS[name](tmp_path)
    _, verdict = audit(planted.blocks, planted.genesis, snapshots=planted.snapshots, trusted=planted.trusted)
    found = checked(page(verdict))
    assert "Good: nothing deviates" not in found.text and "deviations" in found.ids
    for one in verdict.findings:
        assert one.kind in found.text and one.words in found.text and one.txid in found.text
        assert KINDS[one.kind][1] in found.text


def test_a_false_root_is_a_pin(tmp_path):
    planted = PLANTS["false-root"](tmp_path)
    text = page(audit(planted.blocks, planted.genesis)[1])
    assert {"wrong", "stem", "head"} <= set(strip_of(text, "runner03"))
    assert {"wrong", "stem", "head"}.isdisjoint(strip_of(text, "runner01"))


def test_every_kind_and_how_many_there_are(honest):
    kept = [Finding(kind, KINDS[kind][0], 100 + n, f"number {n}") for kind in KINDS for n in range(30)]
    counts = dict.fromkeys(KINDS, 5_000)
    found = checked(page(replace(honest, good=False, findings=kept, deviations=counts)))
    assert all(kind in found.text for kind in KINDS)
    assert f"{5_000 * len(KINDS):,} deviations" in found.text
    assert "are left out here" in found.text and "number 29" not in found.text
    assert found.text.count("number 0") == len(KINDS)


def test_a_history_that_ends_early(honest):
    found = checked(page(replace(honest, good=False, wanted=honest.height + 1_000)))
    assert f"Not reached: block {honest.height + 1_000:,}" in found.text


def test_a_caveat_and_what_was_not_checked(honest):
    checks = replace(honest.checks, merkle=False, signatures=False)
    found = checked(page(replace(honest, caveat=f"nobody knows {SCRIPT}", checks=checks)))
    assert f"nobody knows {SCRIPT}" in found.text and "Not checked" in found.text
    assert "their Merkle roots" not in found.text


def test_one_wrong_round_in_a_hundred_thousand_is_seen(honest):
    count, at = 100_000, 61_803
    marks = "a" * at + "w" + "a" * (count - at - 1)
    verdict = long(honest, count, {"one.liar": account(marks), "one.more": account("a" * count)})
    text = page(verdict)
    paths = strip_of(text, "one.liar")
    assert re.fullmatch(r"M\d+ 4h0", paths["head"]) and paths["stem"]
    x = int(paths["head"][1:].split()[0])
    assert abs(x - at * 800 // count) <= 2
    assert "head" not in strip_of(text, "one.more")
    assert f"{verdict.rounds[at].height:,}" in checked(text).text


def test_one_missing_round_in_a_hundred_thousand_is_seen(honest):
    verdict = long(honest, 100_000, {"sleeper": account("a" * 70_000 + "m" + "a" * 29_999)})
    assert re.search(r"v[1-9]", strip_of(page(verdict), "sleeper")["missing"])


def test_an_account_that_came_later_begins_later(honest):
    verdict = long(honest, 1_000, {"late": replace(account("g" * 500), first=500)})
    paths = strip_of(page(verdict), "late")
    assert set(paths) == {"guest"} and paths["guest"].startswith("M0 28h400v-20")


def test_nothing_at_all(honest):
    nothing = {name: [] for name in ("findings", "rounds", "transactions", "payloads", "signers", "treasury")}
    empty = {name: {} for name in ("accounts", "witnesses", "accepted", "rejected", "deviations")}
    bare = replace(honest, **nothing, **empty, height=-1, root="", root_height=-1, timestamp=0, good=False)
    checked(page(bare))


@pytest.mark.parametrize("evil", [SCRIPT, IMAGE, "a\0b\x1b\u202e\ud800\u2028&amp;</svg></style>", "'" * 900])
def test_hostile_texts_stay_texts(honest, evil):
    verdict = hostile(honest, evil)
    text = page(verdict)
    found = checked(text)
    assert SCRIPT not in text and "<img" not in text and text.encode()
    assert "\u202e" not in text and "\0" not in text
    if evil in (SCRIPT, IMAGE):
        assert found.text.count(evil) > 20


def test_a_huge_one_is_bounded_and_quick(honest):
    verdict = huge(honest)
    begun = time.process_time()
    text = page(verdict)
    assert time.process_time() - begun < 15
    found = checked(text)
    assert "The newest 500 of 100,000" in found.text
    assert "accounts' strips are left out" in found.text


def test_numbers_for_people():
    assert (units(1), units(-1_234_567), units(0)) == ("0.001", "-1,234.567", "0.000")
    assert (minutes(0), minutes(1), minutes(20), minutes(28_800)) == ("0.0", "0.1", "1.0", "1,440.0")
    assert (lasting(1), lasting(40), lasting(28_800), lasting(288_000)) == ("3 s", "2 min", "24 h", "10 days")
    assert (percent(99_999, 100_000), percent(5, 5), percent(0, 0)) == ("99.9 %", "100.0 %", "–")
    assert esc('<a b="\n">') == "&lt;a b=&quot;\\u{a}&quot;&gt;"


def test_shapes():
    assert buckets(3) == [(0, 1), (1, 2), (2, 3)] and len(buckets(1_001)) == 400 and buckets(0) == []
    assert area([0, 10, 20, 30], 20, [0, 5, 5]) == "M0 20h10v-5H30V20z" and area([0, 10], 20, [0]) == ""
    assert band([0, 10, 20], [9, 8], [3, 4]) == "M0 9V3H10V4H20V8H10V9H0z"
    assert steps([(0, 9), (5, 9), (6, 3)], 10) == "M0 9H6V3H10" and steps([], 10) == ""
    for top in (0, 1, 3, 4, 7, 11, 999, 2**63):
        marks = ticks(top)
        assert marks[0] == 0 and marks[-1] >= top and 2 <= len(marks) <= 5
    assert Span(100, 200, 1_767_225_600).date(200) == "1 Jan 00:00" and Span(100, 200, 0).date(150) == ""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_shows_it_and_complains_of_nothing(honest, tmp_path):
    (tmp_path / "page.html").write_text(page(hostile(honest, SCRIPT)))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "CONSOLE" not in done.stderr and "Refused to" not in done.stderr
    seen = Parsed(done.stdout)
    assert "script" not in seen.tags and {"attendance", "treasury", "witnesses"} <= set(seen.ids)


# -- verdicts


def account(marks):
    agreed, wrong, missing, guest = (marks.count(mark) for mark in "awmg")
    return Account(agreed, wrong, missing, guest, agreed + wrong + guest, 0, 0, marks, {"STM5key": agreed})


def long(honest, count, accounts):
    """So many rounds of a hundred blocks, all agreed."""
    rounds = [RoundSeen(100 + index * 100, False, 4, 4, 0) for index in range(count)]
    height = 100 + count * 100
    return replace(honest, accounts=accounts, rounds=rounds, round_length=100, first=100, height=height, wanted=height)


def hostile(honest, evil):
    """Every text of a stranger is the same one."""
    signed = [Signed(evil, evil, 110, evil, evil)]
    tx = replace(honest.transactions[0], op=evil, kind=evil, txid=evil, end=evil, signed=signed)
    tx = replace(tx, refused=[(evil, evil, 1)], recasts=[(1, evil)], carried_by=[evil] * 3)
    states = ("confirmed", "failed", "waiting", evil)
    wanted = [Wanted(n, evil, 110, evil, 5, evil, state, 120, evil, evil) for n, state in enumerate(states)]
    signers = [SignersFrom(100, 1, ((evil, 1, evil),)), SignersFrom(120, 1, ((f"@{evil}", 1, ""), ("", 2, evil)))]
    given = replace(account("aw"), senders={evil: 3})
    return replace(
        honest,
        good=False,
        group=evil,
        genesis=evil,
        source=evil,
        caveat=evil,
        root=evil,
        deviations={evil: 2, "damaged": 1},
        findings=[Finding(evil, evil, 110, evil, evil, evil), Finding("damaged", "1", 111, evil, evil)],
        accounts={evil: given, f"{evil}2": given},
        transactions=[tx],
        payloads=wanted,
        signers=signers,
        treasury=[Held(110, {evil: (1, 0)}), Held(120, {evil: (5, 3), f"{evil}2": (2**63 - 1, 1)})],
        witnesses={evil: 7},
        accepted={evil: 3},
        rejected={evil: {evil: 2}},
    )


def huge(honest):
    """Years of a group that is as large and as unruly as can be, every text of it as long as it gets on a page."""
    count, evil, chance = 1_000_000, '"' * 450, random.Random(7)
    marks = "".join(chance.choices("awmg-", (60, 1, 20, 10, 9), k=count))
    accounts = {f"{number:04}{evil}": replace(account("a"), marks=marks, wrong=number) for number in range(1_000)}
    senders = {f"{number}{evil}": number for number in range(10)}
    accounts = {name: replace(one, senders=senders) for name, one in accounts.items()}
    rounds = [RoundSeen(100 + n * 100, n % 7 == 0, n % 20, 20 + n % 5, n % 2) for n in range(count)]
    height = 100 + count * 100
    signed = [Signed(evil, evil, 5, evil, evil)] * 20
    refused, carried = [(evil, evil, 1)] * 20, [evil] * 20
    transactions = [
        GroupTransaction(
            f"{n}{evil}", evil, tuple(range(20)), evil, n, 0, evil, n, signed, refused, [1], [(1, evil)], carried
        )
        for n in range(100_000)
    ]
    ends = ("confirmed", "confirmed", "failed", "expired")
    payloads = [
        Wanted(n, f"{n % 40}{evil}", n * 1_000, evil, n, evil, ends[n % 4], n * 1_000 + n % 9_999, evil, f"{n}{evil}")
        for n in range(100_000)
    ]
    keys = [(f"{n}{evil}", 1, evil) for n in range(2_000)]
    signers = [SignersFrom(n * 10_000, 20 + n % 9, tuple(chance.sample(keys, 40))) for n in range(5_000)]
    treasury = [Held(n * 1_000, {f"{asset}{evil}": (n * n, n * 7) for asset in range(8)}) for n in range(100_000)]
    kinds = [*KINDS]
    return replace(
        honest,
        good=False,
        first=100,
        height=height,
        wanted=height,
        deviations=dict.fromkeys(kinds, 10_000),
        findings=[Finding(kind, "1", n, evil, evil, evil) for kind in kinds for n in range(KEPT)],
        accounts=accounts,
        rounds=rounds,
        round_length=100,
        transactions=transactions,
        payloads=payloads,
        signers=signers,
        treasury=treasury,
        witnesses={f"{n}{evil}": n for n in range(2_000)},
        accepted={f"{n}{evil}": n for n in range(500)},
        rejected={f"{n}{evil}": {f"{m}{evil}": m for m in range(20)} for n in range(100)},
    )
