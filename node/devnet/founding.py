"""The beginning of a devnet: throw-away keys, accounts on its Hive, and the genesis document of its group.

Keys are sha256 of a sentence: worth nothing anywhere, the same in every run.
"""

from hashlib import sha256
from typing import Any

import msgspec

from node.devnet.chain import DevnetChain
from node.devnet.ledger import Account
from node.signer.keys import SecretKey
from processors.genesis import Genesis, genesis_hash, parse, pop_digest
from processors.hive.chain import Chain
from processors.hive.compounds import AUTHORITY
from processors.hive.keys import NULL_KEY, public_key_to_text
from processors.hive.types import Authority

CHAIN = Chain(sha256(b"waggle devnet").digest(), "TST", ("TESTS", "TBD", "VESTS"))
GROUP = "the-group"
RECEIVER = "receiver"
START_TIME = 1_767_225_600  # 2026-01-01, a moment on the devnet's own clock
WITNESS = sha256(b"waggle devnet witness").digest()


def devnet_key(words: str) -> SecretKey:
    """A throw-away key named by ``words``."""
    return SecretKey(sha256(b"waggle devnet key " + words.encode()).digest())


class MemberKeys(msgspec.Struct, frozen=True):
    """One member of a devnet: account name, account key (active), signing key."""

    account: str
    account_key: SecretKey
    signing_key: SecretKey


def member_keys(number: int) -> MemberKeys:
    """Member ``number`` (from 1): the account runner01, ..."""
    name = f"runner{number:02}"
    return MemberKeys(name, devnet_key(f"{name} active"), devnet_key(f"{name} signing"))


def guest_keys() -> MemberKeys:
    """The account of a newcomer, who makes a signing key of its own."""
    return MemberKeys("newcomer", devnet_key("newcomer active"), devnet_key("newcomer signing"))


def one_key(key: bytes) -> Authority:
    """An authority of one key."""
    return Authority(1, (), ((key, 1),))


def new_chain(members: list[MemberKeys], founder: MemberKeys, *, rules: int = 28, lag: int = 1) -> DevnetChain:
    """A Hive with the members' accounts, a receiver, and the group account on the founder's signing key."""
    chain = DevnetChain(CHAIN, WITNESS, START_TIME, rules=rules, lag=lag)
    rich = (1_000_000, 1_000_000, 10**12)
    for member in members:
        own = one_key(member.account_key.public)
        owner = one_key(devnet_key(f"{member.account} owner").public)
        chain.add_account(Account(member.account, owner, own, own, member.account_key.public, rich, "initminer"))
    given = one_key(founder.signing_key.public)
    chain.add_account(Account(GROUP, given, given, given, founder.signing_key.public, rich, founder.account))
    nobody = Authority(1, (), ())
    chain.add_account(Account("null", nobody, nobody, nobody, NULL_KEY, (0, 0, 0), ""))
    for name in (RECEIVER, "stranger", "initminer"):
        key = devnet_key(name).public
        chain.add_account(Account(name, one_key(key), one_key(key), one_key(key), key, rich, "initminer"))
    return chain


def genesis_document(
    runners: list[MemberKeys],
    *,
    start_block: int,
    parameters: dict[str, Any],
    collateral: dict[str, int] | None = None,
    balances: dict[str, int] | None = None,
    payouts: list[dict[str, Any]] | None = None,
    authority: Authority | None = None,
) -> dict[str, Any]:
    """The genesis of a group that the first runner founds; proofs of possession included."""
    given = AUTHORITY.show(authority or one_key(runners[0].signing_key.public), CHAIN, False)
    locked = {runner.account: 1_000 for runner in runners} | (collateral or {})
    document: dict[str, Any] = {
        "chain_id": CHAIN.chain_id.hex(),
        "address_prefix": CHAIN.address_prefix,
        "symbols": list(CHAIN.symbols),
        "prefix": "waggle_",
        "start_block": start_block,
        "group": {"account": GROUP, "owner": given, "active": given, "posting": given},
        "runner": [
            {
                "account": runner.account,
                "signing_key": public_key_to_text(runner.signing_key.public, CHAIN.address_prefix),
            }
            for runner in runners
        ],
        "collateral": [{"account": account, "amount": amount} for account, amount in sorted(locked.items())],
        "balance": [{"account": account, "amount": amount} for account, amount in sorted((balances or {}).items())],
        "standing_payout": payouts or [],
        "parameters": parameters,
    }
    hashed = genesis_hash(document)
    for runner, entry in zip(runners, document["runner"], strict=True):
        entry["pop"] = runner.signing_key.sign(pop_digest(hashed, runner.account)).hex()
    return document


def found(document: dict[str, Any]) -> Genesis:
    """The checked genesis of a document."""
    return parse(document)
