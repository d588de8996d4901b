"""The genesis document (protocol section 2): reading, checking, hash, and the state it begins.

``parse`` takes the decoded TOML and raises GenesisError with everything that is wrong at once.
"""

import re
from typing import Any

import msgspec

from processors import params as parameters
from processors.errors import GenesisError
from processors.hive.block import Block
from processors.hive.chain import Chain
from processors.hive.compounds import AUTHORITY
from processors.hive.crypto import is_valid_point, recover
from processors.hive.errors import HiveDataError, SignatureError
from processors.hive.keys import public_key_from_text, public_key_to_text
from processors.hive.names import is_account_name
from processors.params import Params
from processors.shapes import DOMAIN
from state import schema
from state.codec import H
from state.errors import CodecError
from state.schema import Authority
from state.view import View

ROLES = ("owner", "active", "posting")
_PREFIX = re.compile(r"[a-z][a-z0-9_.-]{1,15}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HEX65 = re.compile(r"[0-9a-f]{130}", re.ASCII)
_MAX_AMOUNT = 2**53
_KEYS = {
    "": {"chain_id", "address_prefix", "symbols", "prefix", "start_block", "group"},
    "runner": {"account", "signing_key", "pop"},
    "collateral": {"account", "amount"},
    "balance": {"account", "amount"},
    "standing_payout": {"to", "amount", "asset", "every", "memo"},
}
_OPTIONAL = {
    "": {"founder_keys", "runner", "collateral", "balance", "standing_payout", "parameters"},
    "runner": {"domain"},
}


class Runner(msgspec.Struct, frozen=True):
    """A founding member with a seat; its key is ripe."""

    account: str
    signing_key: bytes
    pop: bytes
    domain: str


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

    @property
    def founders(self) -> tuple[str, ...]:
        """The runners whose signing key is in the active authority of the beginning."""
        keys = {key for key, weight in self.authorities["active"].keys if weight}
        return tuple(runner.account for runner in self.runners if runner.signing_key in keys)


def normal_form(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every default written out: what is hashed (without the pops), keys sorted when packed."""
    runners = [
        {"account": r.get("account"), "signing_key": r.get("signing_key"), "domain": r.get("domain", "")}
        for r in _list(document, "runner")
        if type(r) is dict
    ]
    return {
        **{name: document.get(name) for name in sorted(_KEYS[""])},
        "founder_keys": document.get("founder_keys", []),
        "runner": runners,
        "collateral": _list(document, "collateral"),
        "balance": _list(document, "balance"),
        "standing_payout": _list(document, "standing_payout"),
        "parameters": parameters.defaults(document.get("parameters", {})),
    }


def genesis_hash(document: dict[str, Any]) -> bytes:
    """32 bytes: H(["genesis", the normal form without pops]). Raises GenesisError for floats and dates."""
    try:
        return H(["genesis", normal_form(document)])
    except (CodecError, AttributeError, TypeError) as error:
        raise GenesisError([f"the document holds what cannot be hashed ({error}): no floats, no dates"]) from error


def pop_digest(hashed: bytes, account: str) -> bytes:
    """32 bytes that a proof of possession signs (protocol section 4, node_add)."""
    return H(["pop", hashed, account])


def parse(document: dict[str, Any]) -> Genesis:
    """The genesis of a decoded TOML document. Raises GenesisError with all problems found."""
    wrong = _wrong_keys(document)
    if wrong:
        raise GenesisError(wrong)
    values = parameters.defaults(document.get("parameters", {}))
    wrong = parameters.problems(values) + _wrong_basics(document)
    if wrong:
        raise GenesisError(wrong)
    hashed = genesis_hash(document)
    chain = Chain(bytes.fromhex(document["chain_id"]), document["address_prefix"], tuple(document["symbols"]))
    reader = _Reader(chain, hashed)
    genesis = Genesis(
        hash=hashed,
        chain=chain,
        prefix=document["prefix"],
        start_block=document["start_block"],
        group=reader.name("group.account", document["group"].get("account")),
        authorities={role: reader.authority(f"group.{role}", document["group"].get(role)) for role in ROLES},
        founder_keys=tuple(reader.key(f"founder_keys[{i}]", k) for i, k in enumerate(document.get("founder_keys", []))),
        runners=tuple(reader.runner(i, raw) for i, raw in enumerate(_list(document, "runner"))),
        collateral=reader.amounts("collateral", _list(document, "collateral")),
        balance=reader.amounts("balance", _list(document, "balance")),
        standing=tuple(reader.standing(i, raw) for i, raw in enumerate(_list(document, "standing_payout"))),
        params=Params(**values),  # type: ignore[arg-type]
    )
    wrong = reader.wrong + reader.wrong_pops + ([] if reader.wrong else _wrong_founding(genesis))
    if wrong:
        raise GenesisError(wrong)
    return genesis


def begin(view: View, genesis: Genesis, block: Block) -> None:
    """Write the genesis state: the state after start_block, whose operations are not applied."""
    params = genesis.params
    parameters.write(view, params)
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


def _list(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name, [])
    return found if type(found) is list else []


def _wrong_keys(document: dict[str, Any]) -> list[str]:
    wrong = []
    for name in _KEYS:
        entries = [document] if not name else document.get(name, [])
        if type(entries) is not list or not all(type(entry) is dict for entry in entries):
            wrong.append(f"{name}: must be written [[{name}]]")
            continue
        for index, entry in enumerate(entries):
            place = f"{name}[{index}]." if name else ""
            missing = _KEYS[name] - entry.keys()
            if name == "runner":
                missing -= {"pop"}  # reported with its reason below
            surplus = entry.keys() - _KEYS[name] - _OPTIONAL.get(name, set())
            wrong += [f"{place}{key}: missing" for key in sorted(missing)]
            wrong += [f"{place}{key}: no such key" for key in sorted(surplus)]
    if not wrong and not all(type(document.get(name, {})) is dict for name in ("group", "parameters")):
        wrong.append("group, parameters: must be tables")
    if not wrong:
        surplus = document["group"].keys() - {"account", *ROLES}
        wrong += [f"group.{key}: no such key" for key in sorted(surplus)]
    return wrong


def _wrong_basics(document: dict[str, Any]) -> list[str]:
    wrong = []
    if not re.fullmatch(r"[0-9a-f]{64}", str(document["chain_id"])):
        wrong.append("chain_id: 64 lower-case hex digits")
    if not re.fullmatch(r"[A-Z]{3}", str(document["address_prefix"])):
        wrong.append("address_prefix: three capitals, STM on the main chain")
    symbols = document["symbols"]
    if type(symbols) is not list or len(symbols) != 3 or not all(re.fullmatch("[A-Z]{3,6}", str(s)) for s in symbols):
        wrong.append('symbols: three of them, ["HIVE", "HBD", "VESTS"] on the main chain')
    if type(document["prefix"]) is not str or not _PREFIX.fullmatch(document["prefix"]):
        wrong.append("prefix: 2 to 16 of a-z 0-9 _ . -, beginning with a letter")
    length = parameters.defaults(document.get("parameters", {}))["round_length"]
    start = document["start_block"]
    if type(start) is not int or type(length) is not int or not 0 < start < 2**32 or start % length:
        wrong.append(f"start_block: a positive multiple of round_length {length}")
    if type(document.get("founder_keys", [])) is not list:
        wrong.append("founder_keys: a list of public keys")
    return wrong


class _Reader:
    """Reads the entries of a document and collects what is wrong with them."""

    def __init__(self, chain: Chain, hashed: bytes) -> None:
        self.chain = chain
        self.hash = hashed
        self.wrong: list[str] = []
        self.wrong_pops: list[str] = []  # apart: whoever mends the rest makes new ones
        self._seen: set[tuple[str, object]] = set()

    def once(self, place: str, kind: str, value: object) -> None:
        if (kind, value) in self._seen:
            self.wrong.append(f"{place}: twice")
        self._seen.add((kind, value))

    def name(self, place: str, value: Any) -> str:
        if type(value) is not str or not is_account_name(value):
            self.wrong.append(f"{place}: {value!r} is no account name")
            return ""
        return value

    def key(self, place: str, value: Any) -> bytes:
        try:
            key = public_key_from_text(value, self.chain.address_prefix)
        except (HiveDataError, TypeError):
            self.wrong.append(f"{place}: {str(value)[:60]!r} is no public key")
            return b""
        if not is_valid_point(key):
            self.wrong.append(f"{place}: {value} is no point of the curve")
        return key

    def authority(self, place: str, value: Any) -> Authority:
        try:
            found = AUTHORITY.parse(value, self.chain)
            exact = AUTHORITY.show(found, self.chain, False)
        except HiveDataError as error:
            self.wrong.append(f"{place}: {error}")
            return Authority(0, (), ())
        # what is hashed must be the one way to write it: no other keys, no numbers as text
        if value.keys() != exact.keys() or type(value["weight_threshold"]) is not int:
            self.wrong.append(f"{place}: exactly weight_threshold, account_auths and key_auths, numbers as numbers")
        for name, _ in found.account_auths:
            self.name(f"{place}.account_auths", name)
        return Authority(found.weight_threshold, found.key_auths, found.account_auths)

    def amount(self, place: str, value: Any, lowest: int = 0) -> int:
        if type(value) is not int or not lowest <= value <= _MAX_AMOUNT:
            self.wrong.append(f"{place}: {value!r} is no amount of {lowest}..2^53 smallest units")
            return 0
        return value

    def amounts(self, table: str, entries: list[Any]) -> tuple[tuple[str, int], ...]:
        found = []
        for index, raw in enumerate(entries):
            account = self.name(f"{table}[{index}].account", raw["account"])
            self.once(f"{table}[{index}].account: {account}", table, account)
            found.append((account, self.amount(f"{table}[{index}].amount", raw["amount"])))
        return tuple(found)

    def runner(self, index: int, raw: dict[str, Any]) -> Runner:
        place = f"runner[{index}]"
        account = self.name(f"{place}.account", raw["account"])
        key = self.key(f"{place}.signing_key", raw["signing_key"])
        domain = raw.get("domain", "")
        if type(domain) is not str or (domain and not DOMAIN.within(domain)):
            self.wrong.append(f"{place}.domain: an https or http URL without path")
        self.once(f"{place}.account: {account}", "runner", account)
        self.once(f"{place}.signing_key", "key", key)
        pop = raw.get("pop", "")
        try:
            proven = _HEX65.fullmatch(pop) and recover(bytes.fromhex(pop), pop_digest(self.hash, account)) == key
        except (TypeError, SignatureError):
            proven = False
        if not proven:
            self.wrong_pops.append(
                f"{place}.pop: not by {raw['signing_key']} for {account} and genesis {self.hash.hex()}: "
                f"the member makes it with `waggle keys pop`"
            )
            pop = ""
        return Runner(account, key, bytes.fromhex(pop), domain)

    def standing(self, index: int, raw: dict[str, Any]) -> schema.Standing:
        place = f"standing_payout[{index}]"
        memo = raw["memo"]
        if type(memo) is not str or len(memo.encode()) > 512 or _CONTROL.search(memo):
            self.wrong.append(f"{place}.memo: at most 512 bytes without control characters")
        if raw["asset"] not in ("HIVE", "HBD"):
            self.wrong.append(f'{place}.asset: "HIVE" or "HBD", whatever the symbols of the chain')
        every = raw["every"]
        if type(every) is not int or not 1 <= every < 2**32:
            self.wrong.append(f"{place}.every: a number of blocks")
        amount = self.amount(f"{place}.amount", raw["amount"], 1)
        return schema.Standing(self.name(f"{place}.to", raw["to"]), amount, raw["asset"], every, memo)


def _wrong_founding(genesis: Genesis) -> list[str]:
    """The reasons for which the runners could not take the account over, or would not hold it alone."""
    wrong = []
    if not genesis.runners:
        wrong.append("runner: at least one, the founder")
    if len(genesis.runners) > genesis.params.max_runners:
        wrong.append(f"runner: {len(genesis.runners)} are more than max_runners {genesis.params.max_runners}")
    if len(genesis.runners) > genesis.params.max_members:
        wrong.append(f"runner: {len(genesis.runners)} are more than max_members {genesis.params.max_members}")
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
