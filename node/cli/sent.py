"""How an operation of the member's own gets on chain: shown, asked for, signed, sent, and seen by the running node."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import click
import msgspec
from rich.console import Console

from node import registration
from node.account_facts import authority_of, can_act_alone, find_account, find_credits, resource_credits
from node.config import Config
from node.errors import ApiError, KeyFileError, NodeError, UntoldError
from node.feed.http import Http
from node.feed.rpc import Api
from node.membership import Known, member_of
from node.registration import Signed
from node.signer.secret import SecretKey
from processors.genesis import Genesis
from processors.hive.keys import public_key_to_text
from processors.hive.transaction import show_transaction

#: Seconds to wait for the running node to have applied the block.
_SEEN_WITHIN = 60


class Case(msgspec.Struct, frozen=True):
    """One command's circumstances."""

    config: Config
    genesis: Genesis
    account_key: SecretKey
    signing_keys: list[SecretKey]
    known: Known
    as_json: bool
    yes: bool
    dry_run: bool


async def carry_out(
    case: Case,
    name: str,
    body: dict[str, Any],
    lines: list[str],
    is_done: Callable[[int, str], Any],
    status: str,
    more: Callable[[int], Any] | None = None,
) -> None:
    """Show ``lines``, ask, send the custom_json ``name``, and wait until the node's state shows it.

    ``is_done`` gets the block and the transaction's id; its answer may be the reason of a rejection.
    ``more(block)`` gives facts and a line for people that only the state knows.

    Raises ApiError, NodeError.
    """
    config = case.config
    async with aiohttp.ClientSession() as session:
        apis = [Api(api.url, api.operator, Http(session), config.account) for api in config.apis]
        credits = await _check_account(apis, case)
        head = [
            f"account      {config.account}, {credits}",
            f"group        {case.genesis.group}, genesis {case.genesis.hash.hex()[:16]}",
            f"known from   {_SOURCES[case.known.source]}",
        ]
        _show(case, "\n".join([*head, *lines]))
        if not case.dry_run:
            _confirm(case)
        ref = await registration.first_of(apis, registration.reference)
        signed = registration.sign(case.genesis, config.account, name, body, case.account_key, ref)
        facts: dict[str, Any] = {"operation": name, "txid": signed.txid.hex()}
        if case.dry_run:
            shown = show_transaction(signed.tx, case.genesis.chain, typed=False)
            tell(case, {**facts, "status": "dry_run", "transaction": shown}, json.dumps(shown, indent=1))
            return
        facts |= await _send(case, apis, signed)
    seen = await _seen(case, facts["block"], facts["txid"], is_done)
    facts |= {"status": status, "seen_by_node": seen}
    words = f"{status} in block {facts['block']}, transaction {facts['txid']}"
    if isinstance(seen, str):
        raise NodeError(f"{words}: but the group rejected it: {seen}")
    if seen is False:
        raise NodeError(f"{words}: but the group's state does not show it: the operation was rejected there")
    if seen and more is not None:
        told, line = await more(facts["block"])
        facts |= told
        words += f"\n{line}"
    tell(case, facts, words if seen else f"{words}\nStart the node, and look at it with `waggle status`")


_SOURCES = {
    "node": "the running node",
    "store": "the node's store; the node does not run",
    "genesis": "the genesis document alone: the node has no state yet",
}


async def _check_account(apis: list[Api], case: Case) -> str:
    """Whether the account key can act for the account; its resource credits in words. Raises ApiError, NodeError."""
    name = case.config.account
    account = await registration.first_of(apis, lambda api: find_account(api, name))
    if not can_act_alone(authority_of(account, "active", case.genesis.chain), [case.account_key.public]):
        text = public_key_to_text(case.account_key.public, case.genesis.chain.address_prefix)
        raise KeyFileError(
            f"{case.config.account_key}: {text} is not in the active authority of {name} on chain, or does not meet it "
            f"alone: name the account's active key in keys.account"
        )
    try:
        found = await registration.first_of(apis, lambda api: find_credits(api, name))
        view = await registration.first_of(apis, registration.reference)
        percent = resource_credits(found, view.head_time)
    except ApiError:
        percent = None
    return "resource credits not known" if percent is None else f"{percent} % of its resource credits left"


async def _send(case: Case, apis: list[Api], signed: Signed) -> dict[str, Any]:
    console = Console(stderr=True)
    with console.status("sending") as progress:

        def told(words: str) -> None:
            progress.update(f"{signed.txid.hex()}: {words}")

        server = await registration.send(apis, case.genesis, signed.tx)
        told(f"taken by {server}")
        block = await registration.wait(apis, signed.txid, told)
    return {"server": server, "block": block}


async def _seen(case: Case, block: int, txid: str, is_done: Callable[[int, str], Any]) -> bool | str | None:
    """Whether the running node's state shows it, once it has applied the block; a str = why it was rejected.

    None if no node runs here. Raises UntoldError.
    """
    for _ in range(_SEEN_WITHIN * 2):
        try:
            found: bool | str = await is_done(block, txid)
            if found:
                return found
            height, _ = await member_of(case.config)
        except UntoldError:
            raise
        except NodeError:
            return None
        if height > block:
            last: bool | str = await is_done(block, txid)
            return last
        await asyncio.sleep(0.5)
    return None


def _confirm(case: Case) -> None:
    if not case.yes and not answered(lambda: click.confirm("Sign it and send it?", err=True)):
        raise NodeError("nothing was sent")


def answered(ask: Callable[[], Any]) -> Any:
    """What a person answers. Raises NodeError where there is none."""
    try:
        return ask()
    except click.Abort:
        raise NodeError("nobody answered: nothing was sent. Where there is no terminal, add --yes") from None


def _show(case: Case, text: str) -> None:
    click.echo(text, err=case.as_json)


def tell(case: Case, facts: dict[str, Any], text: str) -> None:
    """The outcome: ``facts`` for a script, ``text`` for a person."""
    body = {"ok": True, "account": case.config.account, "group": case.genesis.group, **facts}
    click.echo(json.dumps(body) if case.as_json else text)
