"""What the commands of `waggle archive` say, and how a server is named to them."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from node.config import ApiConfig
from node.feed.segment import SEGMENT_BLOCKS, frames_of, opened, segment_path, starts_of
from node.history.verifying import Asked, Verified, remedy, span_of
from node.log import one_line
from node.span import plural
from processors.hive.keys import public_key_to_text

_WORDS = {
    "api_error": "{error}",
    "server_banned": "{server} is asked no more for {seconds} s: {why}",
    "unproven_block": "block {height} is taken as {operators} give it alike: {why}",
    "block_refused": "{why}",
    "servers_differ": "{server} has another block {height} ({theirs}) than was fetched ({own})",
    "start_try": "{what}, try {try} of {of}, again in {again_in} s: {error}",
}


def api_of(text: str) -> ApiConfig:
    """A server as --api names it, by its operator or else by its host. Raises UsageError."""
    operator, equals, url = text.partition("=")
    if not equals or "://" in operator:
        operator, url = "", text
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise click.UsageError(f"--api {text[:120]!r}: write [OPERATOR=]URL, as in hive.blog=https://api.hive.blog")
    return ApiConfig(url.rstrip("/"), operator or str(parts.hostname))


def told(event: str, fields: dict[str, object]) -> None:
    """What happens meanwhile, to a person."""
    words = _WORDS.get(event, f"{event}: {fields}")
    click.echo(one_line(words.format(**fields) if event in _WORDS else words), err=True)


def report_of(asked: Asked, found: Verified) -> tuple[dict[str, Any], str]:
    """A verdict for machines and for people."""
    prefix = asked.chain.address_prefix
    bad = [
        {"block": one.number, "kind": one.kind, "words": one.words, "remedy": remedy(asked.folder, one)}
        for one in found.bad
    ]
    keys = {
        name: {"key": public_key_to_text(key, prefix), "blocks": count}
        for name, (key, count) in sorted(found.keys.items())
    }
    body = {
        "good": found.good,
        "first": found.first,
        "last": found.last,
        "quick": found.quick,
        "stopped": found.stopped,
        "seconds": found.seconds,
        "bad_count": found.bad_count,
        "bad": bad,
        "witnesses": keys,
    }
    return body, "\n".join(_lines(found, bad))


def _lines(found: Verified, bad: list[dict[str, Any]]) -> list[str]:
    span = f"the blocks {found.first} to {found.last}"
    what = "links, ids and digests" if found.quick else "digests, links, ids, Merkle roots and signatures"
    rate = f"{found.blocks} blocks in {found.seconds:.0f} s, {found.blocks / max(found.seconds, 0.01):.0f}/s"
    lines = []
    for one in bad:
        lines.append(one_line(f"BAD  block {one['block']} ({one['kind']}): {one['words']}"))
        lines.append(one_line(f"     {one['remedy']}"))
    if found.bad_count > len(bad):
        lines.append(f"and {found.bad_count - len(bad)} more")
    if found.good and found.last >= found.first:
        witnesses = "" if found.quick else f", {plural(len(found.keys), 'witness', 'witnesses')}"
        lines.append(f"good: {what} of {span} ({rate}{witnesses})")
    if found.stopped:
        lines.append(f"stopped: go on with --from {found.last + 1}, or once more from the beginning")
    return lines


def looked(folder: Path) -> tuple[dict[str, Any], str]:
    """What an archive holds, for machines and for people: its headers are read, its blocks are not."""
    first, last = span_of(folder)
    starts, gaps = starts_of(folder), []
    frames = size = raw = blocks = 0
    after = first
    for start in starts:
        path = segment_path(folder, start)
        with opened(path) as handle:
            found = frames_of(handle)
        size += path.stat().st_size
        frames, blocks = frames + len(found), blocks + sum(frame.count for frame in found)
        raw += sum(frame.raw_size for frame in found)
        begin = found[0].first if found else start + SEGMENT_BLOCKS
        if begin > after and after <= last:
            gaps.append((after, min(begin - 1, last)))
        after = max(after, found[-1].last + 1) if found else after
    whole = gaps[0][0] - 1 if gaps else last
    ratio = round(raw / max(size, 1), 2)
    body = {"first": first, "last": whole, "newest": last, "blocks": blocks, "gaps": gaps, "segments": len(starts)}
    body |= {"frames": frames, "bytes": size, "json_bytes": raw, "ratio": ratio}
    lines = [f"blocks    {first} to {whole}" + (f", and behind gaps up to {last}" if gaps else "")]
    lines += [f"missing   {begin} to {end}: `waggle archive fetch` fetches them" for begin, end in gaps]
    lines.append(f"files     {len(starts)}, of {frames} frames")
    lines.append(f"bytes     {size:,}, of {raw:,} of JSON: {ratio} times smaller")
    return body, "\n".join(lines)
