"""`waggle join` and `waggle leave`: who, which key, what it costs and what comes next; node/cli/sent.py sends it."""

import asyncio
from pathlib import Path
from typing import Any

import click

from node import registration
from node.assembly import load_genesis
from node.cli.acting import account_key, acting
from node.cli.sent import Case, answered, carry_out, tell
from node.config import Config, load_config
from node.errors import ConfigError, NodeError
from node.membership import look, member_of, what_comes_next, what_it_costs, what_leaving_means, why_not
from node.signer.keys import open_keys
from node.signer.passwords import once, source
from node.signer.secret import SecretKey
from processors.genesis import Genesis
from processors.hive.errors import HiveDataError
from processors.hive.keys import public_key_from_text, public_key_to_text
from state.schema import Member


@click.command()
@click.option("--domain", help="Where your node can be asked, as https://node.example; kept if you are a member.")
@click.option("--follow-active/--no-follow-active", default=None, help="Let a new active key become the signing key.")
@click.option("--signing-key", help="The public signing key, if a remote signer holds it; needs --pop.")
@click.option("--pop", help="Its proof of possession, by `waggle keys pop` where the key lies.")
@acting
def join(
    config_path: Path,
    domain: str | None,
    follow_active: bool | None,
    signing_key: str | None,
    pop: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Register this node's account and signing key with the group, or update the registration.

    Exit 0 also if it is registered so already.

    Example:  waggle join --config config.toml --domain https://node.example
    """
    config = load_config(config_path)
    asyncio.run(_join(config, domain, follow_active, (signing_key, pop), (as_json, yes, dry_run)))


@click.command()
@acting
def leave(config_path: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Give up the seat and leave the group. The node must run on until the rotation has taken its keys out.

    Exit 0 also if the account is leaving, or no member, already.

    Example:  waggle leave --config config.toml
    """
    asyncio.run(_leave(load_config(config_path), (as_json, yes, dry_run)))


async def _join(
    config: Config,
    domain: str | None,
    follow: bool | None,
    remote: tuple[str | None, str | None],
    how: tuple[bool, bool, bool],
) -> None:
    genesis = load_genesis(config.genesis)
    active, signing = _open(config)
    key, proof = _signing(config, genesis, signing, remote)
    if key == active.public:
        raise ConfigError("the signing key is the account key: two roles, two keys. Make one: waggle keys new")
    case = Case(config, genesis, active, signing, await look(config, genesis, key), *how)
    member = case.known.member
    if follow is None:
        follow = member is not None and member.follow_active
    domain = domain or (member.domain if member is not None else "") or _ask_domain(case)
    if _is_so(member, key, domain, follow):
        text = public_key_to_text(key, genesis.chain.address_prefix)
        tell(case, {"status": "already"}, f"{config.account} is registered with {text}: nothing to do")
        return
    refused = why_not(case.known, genesis.params, config.account)
    if refused:
        raise NodeError(f"the group would reject it: {refused}")
    body = registration.node_add(genesis, config.account, key, proof, domain=domain, follow_active=follow)

    async def is_done(block: int, txid: str) -> bool:
        return _is_so((await member_of(config))[1], key, domain, follow)

    await carry_out(case, "node_add", body, _about_joining(case, body, key), is_done, "registered")


def _is_so(member: Member | None, key: bytes, domain: str, follow: bool) -> bool:
    """Whether the registration is what is wanted."""
    if member is None or member.leaving:
        return False
    return (member.signing_key, member.domain, member.follow_active) == (key, domain, follow)


def _about_joining(case: Case, body: dict[str, Any], key: bytes) -> list[str]:
    params = case.genesis.params
    return [
        f"signing key  {body['signing_key']}",
        f"domain       {body['domain']}",
        "proof        made with that key, for this account in this genesis",
        "What it costs:",
        *(f"  - {line}" for line in what_it_costs(case.known, params)),
        "What comes next:",
        *(f"  - {line}" for line in what_comes_next(case.known, params, key)),
    ]


async def _leave(config: Config, how: tuple[bool, bool, bool]) -> None:
    genesis = load_genesis(config.genesis)
    active, signing = _open(config)
    first = signing[0].public if signing else active.public
    case = Case(config, genesis, active, signing, await look(config, genesis, first), *how)
    member = case.known.member
    if member is None and case.known.source == "genesis":
        raise NodeError("this node has no state yet, and cannot say who is a member: start it, then run this again")
    if member is None:
        tell(case, {"status": "no_member"}, f"{config.account} is no member: nothing to do")
        return
    keys = [*(key.public for key in signing), member.signing_key]
    lines = ["What it means:", *(f"  - {line}" for line in what_leaving_means(case.known, keys))]
    if member.leaving:
        tell(case, {"status": "already"}, "\n".join([f"{config.account} is leaving already", *lines]))
        return

    async def is_done(block: int, txid: str) -> bool:
        _, found = await member_of(config)
        return found is None or found.leaving

    await carry_out(case, "node_delete", {}, lines, is_done, "leaving")


def _open(config: Config) -> tuple[SecretKey, list[SecretKey]]:
    ask = once(source(config.password))
    return account_key(config, ask), open_keys(list(config.signing_keys), ask, role="signing").keys


def _signing(
    config: Config, genesis: Genesis, keys: list[SecretKey], remote: tuple[str | None, str | None]
) -> tuple[bytes, bytes]:
    """The signing key to register and its proof: the first one here, or that of a remote signer."""
    text, pop = remote
    if text is None and pop is None and keys:
        return keys[0].public, registration.proof(genesis, config.account, keys[0])
    if text is None or pop is None:
        raise ConfigError(
            "the signing key is held by a remote signer: run `waggle keys pop` there, and give its answer with "
            "--signing-key and --pop"
        )
    try:
        return public_key_from_text(text, genesis.chain.address_prefix), bytes.fromhex(pop)
    except (HiveDataError, ValueError) as error:
        raise ConfigError(f"--signing-key, --pop: {error}: give what `waggle keys pop` printed") from None


def _ask_domain(case: Case) -> str:
    if case.yes or case.as_json:
        raise ConfigError("--domain: missing: write where this node can be asked, as https://node.example")
    return str(answered(lambda: click.prompt("Where this node can be asked (https://HOST[:PORT])", err=True)))
