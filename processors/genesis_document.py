"""Reading the genesis document entry by entry: everything that is wrong with it is collected, not raised."""

import re
from typing import Any

import msgspec

from processors import params as parameters
from processors.authority_form import as_stored
from processors.hive.chain import Chain
from processors.hive.compounds import AUTHORITY
from processors.hive.crypto import is_valid_point, recover
from processors.hive.errors import HiveDataError, SignatureError
from processors.hive.keys import public_key_from_text
from processors.hive.names import is_account_name
from processors.shapes import DOMAIN
from state.codec import H
from state.schema import Authority, Standing

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
DOCUMENT_KEYS = frozenset(_KEYS[""])
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


def pop_digest(hashed: bytes, account: str) -> bytes:
    """32 bytes that a proof of possession signs (protocol section 4, node_add)."""
    return H(["pop", hashed, account])


def entries(document: dict[str, Any], name: str) -> list[Any]:
    """The tables of a list like [[runner]]; none if it is left out."""
    found = document.get(name, [])
    return found if type(found) is list else []


def wrong_keys(document: dict[str, Any]) -> list[str]:
    """Keys that are missing or surplus, a line each."""
    wrong = []
    for name in _KEYS:
        found = [document] if not name else document.get(name, [])
        if type(found) is not list or not all(type(entry) is dict for entry in found):
            wrong.append(f"{name}: must be written [[{name}]]")
            continue
        for index, entry in enumerate(found):
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


def wrong_basics(document: dict[str, Any]) -> list[str]:
    """What is wrong with the values on the top level, a line each."""
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


class Reader:
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
        return as_stored(found)

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

    def standing(self, index: int, raw: dict[str, Any]) -> Standing:
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
        return Standing(self.name(f"{place}.to", raw["to"]), amount, raw["asset"], every, memo)
