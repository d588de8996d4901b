"""The genesis document (protocol section 2): reading, checking, hash, and the state it begins.

``parse`` takes the decoded TOML and raises GenesisError with everything that is wrong at once.
"""

from typing import Any

import msgspec

from processors import params as parameters
from processors.errors import GenesisError
from processors.genesis_document import (
    DOCUMENT_KEYS,
    ROLES,
    Reader,
    Runner,
    entries,
    pop_digest,
    wrong_basics,
    wrong_keys,
)
from processors.hive.block import Block
from processors.hive.chain import Chain
from processors.hive.keys import public_key_to_text
from processors.params import Params
from state import schema
from state.codec import H
from state.errors import CodecError
from state.schema import Authority
from state.view import View

__all__ = ["ROLES", "Genesis", "Runner", "begin", "genesis_hash", "meets", "normal_form", "parse", "pop_digest"]


#: Smallest units of the token: every sum of them fits a signed integer of 8 bytes.
MAX_SUPPLY = 2**63 - 1


class Genesis(msgspec.Struct, frozen=True):
    """A genesis document that was checked."""

    hash: bytes
    chain: Chain
    prefix: str
    start_block: int
    group: str
    authorities: dict[str, Authority]
    founder_keys: tuple[bytes, ...]
    runners: tuple[Runner, ...]
    collateral: tuple[tuple[str, int], ...]
    balance: tuple[tuple[str, int], ...]
    standing: tuple[schema.Standing, ...]
    params: Params
    named: frozenset[str] = frozenset()  # the parameters that the document names

    @property
    def founders(self) -> tuple[str, ...]:
        """The runners whose signing key is in the active authority of the beginning."""
        keys = {key for key, weight in self.authorities["active"].keys if weight}
        return tuple(runner.account for runner in self.runners if runner.signing_key in keys)


def normal_form(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every default written out: what is hashed (without the pops), keys sorted when packed."""
    runners = [
        {"account": r.get("account"), "signing_key": r.get("signing_key"), "domain": r.get("domain", "")}
        for r in entries(document, "runner")
        if type(r) is dict
    ]
    return {
        **{name: document.get(name) for name in sorted(DOCUMENT_KEYS)},
        "founder_keys": document.get("founder_keys", []),
        "runner": runners,
        "collateral": entries(document, "collateral"),
        "balance": entries(document, "balance"),
        "standing_payout": entries(document, "standing_payout"),
        "parameters": parameters.written_out(document.get("parameters", {})),
    }


def genesis_hash(document: dict[str, Any]) -> bytes:
    """32 bytes: H(["genesis", the normal form without pops]). Raises GenesisError for floats and dates."""
    try:
        return H(["genesis", normal_form(document)])
    except (CodecError, AttributeError, TypeError) as error:
        raise GenesisError([f"the document holds what cannot be hashed ({error}): no floats, no dates"]) from error


def parse(document: dict[str, Any]) -> Genesis:
    """The genesis of a decoded TOML document. Raises GenesisError with all problems found."""
    wrong = wrong_keys(document)
    if wrong:
        raise GenesisError(wrong)
    values = parameters.defaults(document.get("parameters", {}))
    wrong = parameters.problems(values) + wrong_basics(document)
    if wrong:
        raise GenesisError(wrong)
    hashed = genesis_hash(document)
    chain = Chain(bytes.fromhex(document["chain_id"]), document["address_prefix"], tuple(document["symbols"]))
    reader = Reader(chain, hashed)
    genesis = Genesis(
        hash=hashed,
        chain=chain,
        prefix=document["prefix"],
        start_block=document["start_block"],
        group=reader.name("group.account", document["group"].get("account")),
        authorities={role: reader.authority(f"group.{role}", document["group"].get(role)) for role in ROLES},
        founder_keys=tuple(reader.key(f"founder_keys[{i}]", k) for i, k in enumerate(document.get("founder_keys", []))),
        runners=tuple(reader.runner(i, raw) for i, raw in enumerate(entries(document, "runner"))),
        collateral=reader.amounts("collateral", entries(document, "collateral")),
        balance=reader.amounts("balance", entries(document, "balance")),
        standing=tuple(reader.standing(i, raw) for i, raw in enumerate(entries(document, "standing_payout"))),
        params=Params(**values),  # type: ignore[arg-type]
        named=frozenset(document.get("parameters", {})),
    )
    wrong = reader.wrong + reader.wrong_pops + ([] if reader.wrong else _wrong_founding(genesis))
    if wrong:
        raise GenesisError(wrong)
    return genesis


def begin(view: View, genesis: Genesis, block: Block) -> None:
    """Write the genesis state: the state after start_block, whose operations are not applied."""
    parameters.write(view, genesis.params, genesis.named)
    for role, authority in genesis.authorities.items():
        view.put(schema.AUTHORITY, authority, role)
    for runner in genesis.runners:
        # the pops stand in the document: in the state, two valid ones for one genesis hash would give two roots
        member = schema.Member(runner.domain, runner.signing_key, b"", False, None, runner.signing_key, 0, False, "")
        view.put(schema.NODE, member, runner.account)
        view.put(schema.KEY, schema.KeyOwner(runner.account), runner.signing_key)
        view.put(schema.RUNNER, schema.Seat(genesis.start_block, 0, 0), runner.account)
    for account, amount in genesis.collateral:
        view.put(schema.COLLATERAL, schema.Collateral(amount, 0), account)
    for account, amount in genesis.balance:
        view.put(schema.BALANCE, schema.Balance(amount), account)
    for index, payout in enumerate(genesis.standing):
        view.put(schema.STANDING, payout, index)
        view.put(schema.CHRON, schema.Job("standing", str(index)), genesis.start_block + payout.every, index + 1)
    view.put(schema.COUNTERS, schema.Counters(0, len(genesis.standing)))
    view.put(schema.TALLY, schema.Tally(genesis.start_block, False, 0, genesis.start_block, 0, 0, 0))
    view.put(schema.HEADERS, schema.Headers(None, None))
    view.put(schema.OWNER_CHANGES, schema.OwnerChanges(()))
    view.put(schema.HEAD, schema.Head(block.number, block.id, block.timestamp))


def meets(authority: Authority, keys: set[bytes]) -> int:
    """The weight that ``keys`` lack to meet an authority; 0 = they meet it. A threshold of 0 is never met."""
    weight = sum(w for key, w in authority.keys if key in keys)
    return max(0, authority.threshold - weight) if authority.threshold else 1


def _wrong_founding(genesis: Genesis) -> list[str]:
    """The reasons for which the runners could not take the account over, or would not hold it alone."""
    wrong = []
    if not genesis.runners:
        wrong.append("runner: at least one, the founder")
    if len(genesis.runners) > genesis.params.max_runners:
        wrong.append(f"runner: {len(genesis.runners)} are more than max_runners {genesis.params.max_runners}")
    if len(genesis.runners) > genesis.params.max_members:
        wrong.append(f"runner: {len(genesis.runners)} are more than max_members {genesis.params.max_members}")
    supply = sum(amount for _, amount in (*genesis.balance, *genesis.collateral))
    if supply > MAX_SUPPLY:
        wrong.append(f"balance, collateral: {supply} smallest units together are more than {MAX_SUPPLY}")
    locked = dict(genesis.collateral)
    for runner in genesis.runners:
        if locked.get(runner.account, 0) < genesis.params.min_collateral:
            wrong.append(
                f"collateral: {runner.account} has {locked.get(runner.account, 0)}, "
                f"a runner needs {genesis.params.min_collateral}"
            )
    own = {runner.signing_key for runner in genesis.runners}
    held = own | set(genesis.founder_keys)
    for role in ("owner", "active"):
        missing = meets(genesis.authorities[role], held)
        if missing:
            names = [public_key_to_text(key, genesis.chain.address_prefix) for key, _ in genesis.authorities[role].keys]
            wrong.append(
                f"group.{role}: the runners' keys (and founder_keys) lack a weight of {missing} to meet it; "
                f"its keys are {', '.join(names) or 'none'}. An authority made of accounts is replaced by keys first"
            )
    active = genesis.authorities["active"]
    everything = sum(w for _, w in active.keys) + sum(w for _, w in active.accounts)
    weight = sum(w for key, w in active.keys if key in own)
    if 2 * weight <= everything:
        wrong.append(
            f"group.active: the runners' signing keys weigh {weight} of {everything}; they need more than half: "
            f"{everything // 2 + 1 - weight} is missing"
        )
    return wrong
