"""Reports (protocol section 5): the first of an account in a round counts."""

from typing import Any

from msgspec.structs import replace

from processors.context import Context, key_owner
from processors.errors import Rejected
from processors.hive.crypto import recover
from processors.hive.errors import SignatureError
from processors.members import MAX_KEYS, keys_of
from processors.registry import custom_json
from processors.shapes import VER, hexadecimal, integer, nested
from processors.signatures import weigh_all
from state.codec import H
from state.schema import HEADERS, KEY, NODE, REPORT, KeyOwner, Member, Report

REPORT_SHAPE = {
    "v": integer(1, 1),
    "height": integer(0, 2**32 - 1),
    "root": hexadecimal(32),
    "hdr": nested({"num": integer(0, 65535), "pre": integer(0, 2**32 - 1), "exp": integer(0, 2**32 - 1)}),
    "ver": VER,
    "sig": hexadecimal(65),
}


def report_digest(genesis_hash: bytes, height: int, root: bytes, account: str) -> bytes:
    """32 bytes that a report's signature signs."""
    return H(["report", genesis_hash, height, root, account])


def round_start(height: int, round_length: int) -> int:
    """H of the round in which block ``height`` lies; its last block is H + round_length."""
    return (height - 1) // round_length * round_length


@custom_json("report", REPORT_SHAPE)
def report(ctx: Context, account: str, body: dict[str, Any]) -> None:
    """A member says which root it has after block H, and which header block H + report_at has."""
    member = ctx.view.get(NODE, account)
    if member is None:
        raise Rejected("not_member")
    start = round_start(ctx.height, ctx.params.round_length)
    if body["height"] != start or ctx.height <= start + ctx.params.report_at:
        raise Rejected("wrong_height")
    if ctx.view.get(REPORT, account) is not None:
        raise Rejected("reported_already")
    asked = ctx.view.need(HEADERS).asked
    given = body["hdr"]
    if asked is None or (given["num"], given["pre"], given["exp"]) != (asked.num, asked.pre, asked.exp):
        raise Rejected("wrong_header")
    root = bytes.fromhex(body["root"])
    try:
        key = recover(bytes.fromhex(body["sig"]), report_digest(ctx.genesis.hash, start, root, account))
    except SignatureError:
        raise Rejected("bad_signature") from None
    member = _signed_by(ctx, account, member, key)
    if key != member.signing_key:
        if ctx.view.get(KEY, key) is None and len(keys_of(ctx.view, account)) >= MAX_KEYS:
            raise Rejected("too_many_keys")
        member = replace(member, signing_key=key, next_key=None, count=0)
        if ctx.view.get(KEY, key) is None:
            ctx.view.put(KEY, KeyOwner(account), key)
            weigh_all(ctx)
    ctx.view.put(NODE, replace(member, ver=body["ver"]), account)
    ctx.view.put(REPORT, Report(root, key, body["ver"]), account)


def _signed_by(ctx: Context, account: str, member: Member, key: bytes) -> Member:
    """``member`` if its signing key or next key signed; a next key that another member has by now does not count."""
    if key == member.signing_key:
        return member
    if key != member.next_key or key_owner(ctx, key) not in (None, account):
        raise Rejected("bad_signature")
    return member
