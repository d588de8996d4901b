"""The genesis document: its hash and pops against the reference, what section 2 refuses, the state it begins."""

import copy
import tomllib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors import genesis
from processors.errors import GenesisError
from processors.params import BOUNDS, LATER
from state.state import State
from state.store import MemoryStore
from tests.reference import documents, keys, roots
from tests.reference import genesis as reference
from tests.reference.documents import authority, founder_key, plain, signing_key, with_pops

Document = dict[str, Any]


def problems(document: Document) -> list[str]:
    """What is wrong with a document; empty when it may be used."""
    try:
        genesis.parse(document)
    except GenesisError as error:
        return error.problems
    return []


def founded(**group: Any) -> Document:
    """A document with other authorities, with its pops."""
    document = plain()
    document["group"] = {**document["group"], **group}
    return with_pops(document)


# -- hash and pop


@pytest.mark.parametrize("document", [plain(), documents.full(), plain("alice"), plain(parameters={"hive_rules": 27})])
def test_the_hash_is_the_reference(document: Document) -> None:
    whole = with_pops(document)
    read = tomllib.loads(documents.toml_of(whole))
    assert read == whole
    assert genesis.normal_form(read) == reference.canonical_map(read)
    assert genesis.genesis_hash(read) == reference.genesis_hash(documents.toml_of(whole))
    assert genesis.parse(read).hash == reference.genesis_hash(read)


def test_the_map_has_exactly_the_keys_of_the_text() -> None:
    assert sorted(genesis.normal_form(plain())) == sorted(reference.MAP_KEYS)
    assert sorted(reference.DEFAULTS) == sorted(BOUNDS.keys() - LATER)


@pytest.mark.parametrize("name", sorted(LATER))
def test_a_later_parameter_is_in_the_hash_and_in_the_state_only_where_the_document_names_it(name: str) -> None:
    value = getattr(genesis.parse(with_pops(plain())).params, name)
    named = plain(parameters={name: value})
    assert name not in genesis.normal_form(plain())["parameters"]
    assert genesis.normal_form(named)["parameters"][name] == value
    assert genesis.genesis_hash(named) != genesis.genesis_hash(plain()), "even where it names the default"
    assert genesis.genesis_hash(named) == reference.genesis_hash(named)
    assert genesis.parse(with_pops(named)).params == genesis.parse(with_pops(plain())).params


def test_all_tokens_together_fit_a_signed_integer_of_8_bytes() -> None:
    rich = [{"account": f"rich{n}", "amount": 2**53} for n in range(1_024)]
    few = [{"account": f"rich{n}", "amount": 2**53} for n in range(1_000)]
    assert genesis.parse(with_pops(plain(balance=few)))
    with pytest.raises(GenesisError, match="smallest units together are more than"):
        genesis.parse(with_pops(plain(balance=rich)))


def test_pops_are_no_part_of_the_hash_and_order_in_the_file_is_not_either() -> None:
    document = plain()
    hashed = genesis.genesis_hash(document)
    assert genesis.genesis_hash(with_pops(document)) == hashed
    assert genesis.genesis_hash(dict(reversed(document.items()))) == hashed
    turned = {**document, "runner": list(reversed(document["runner"]))}
    assert genesis.genesis_hash(turned) == reference.genesis_hash(turned) != hashed, "lists stay in their order"


def test_defaults_written_out_change_nothing() -> None:
    document = plain()
    written = {
        **document,
        **{key: [] for key in ("balance", "founder_keys", "standing_payout")},
        "parameters": reference.DEFAULTS,
        "runner": [{**runner, "domain": ""} for runner in document["runner"]],
    }
    assert genesis.genesis_hash(written) == genesis.genesis_hash(document)


CHANGES: dict[str, Any] = {
    "chain_id": "43" * 32,
    "address_prefix": "TST",
    "symbols": ["TESTS", "TBD", "VESTS"],
    "prefix": "wag2_",
    "start_block": 1_100,
    "founder_keys": [founder_key("owner")],
    "balance": [{"account": "alice", "amount": 1}],
    "collateral": [{"account": "alice", "amount": 1}],
    "standing_payout": [{"to": "alice", "amount": 1, "asset": "HIVE", "every": 1, "memo": ""}],
    "runner": [],
    **{f"parameters.{name}": {name: (not value if value in (True, False) and name != "min_collateral" else value + 1)}
       for name, value in reference.DEFAULTS.items()},
}  # fmt: skip


def test_every_part_changes_the_hash() -> None:
    hashes = {genesis.genesis_hash(plain())}
    for name, value in CHANGES.items():
        changed = plain(**{name.partition(".")[0]: value})
        hashes.add(genesis.genesis_hash(changed))
        assert genesis.genesis_hash(changed) == reference.genesis_hash(changed)
    for role in ("owner", "active", "posting"):
        hashes.add(genesis.genesis_hash(founded(**{role: authority(7)})))
    hashes.add(genesis.genesis_hash(founded(account="other.group")))
    domain = plain()
    domain["runner"][2]["domain"] = "https://c.example"
    hashes.add(genesis.genesis_hash(domain))
    assert len(hashes) == 1 + len(CHANGES) + 5


@given(st.dictionaries(st.sampled_from(sorted(BOUNDS)), st.integers(-(2**63), 2**64 - 1)), st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_document_is_hashed_alike(parameters: dict[str, int], memo: str) -> None:
    payout = {"to": "alice", "amount": 1, "asset": "HIVE", "every": 1, "memo": memo}
    document = plain(parameters=parameters, standing_payout=[payout])
    assert genesis.genesis_hash(document) == reference.genesis_hash(document)


@pytest.mark.parametrize("value", ["1.5", "1.0", "2024-01-01", "2024-01-01T00:00:00Z", "12:00:00", "nan", "[1.0]"])
def test_floats_and_dates_are_refused(value: str) -> None:
    for place in ("start_block", "prefix", "chain_id", "symbols"):
        document = plain()
        document.update(tomllib.loads(f"{place} = {value}"))
        with pytest.raises(GenesisError):
            genesis.genesis_hash(document)
        assert problems(with_no_pops(document))
    for document in (plain(parameters=tomllib.loads(f"outbid = {value}")), plain()):
        document["runner"][0]["domain"] = tomllib.loads(f"x = {value}")["x"]
        with pytest.raises(GenesisError):
            genesis.genesis_hash(document)
        assert problems(with_no_pops(document))


def with_no_pops(document: Document) -> Document:
    """The document with empty pops: for documents that have no hash."""
    return {**document, "runner": [{**runner, "pop": ""} for runner in document["runner"]]}


@pytest.mark.parametrize("account", ["alice", "bob.b-2", "a-very-long-name"])
def test_the_pop_is_the_reference(account: str) -> None:
    hashed = genesis.genesis_hash(plain())
    assert genesis.pop_digest(hashed, account) == keys.pop_digest(hashed, account)


def _replaced(pop: str) -> str:
    return pop[:20] + ("0" if pop[20] != "0" else "1") + pop[21:]


WRONG_POPS: dict[str, Callable[[Document], str]] = {
    "empty": lambda document: "",
    "no hex": lambda document: "zz" * 65,
    "too short": lambda document: documents.pop_of(document, "bob")[:-2],
    "too long": lambda document: documents.pop_of(document, "bob") + "00",
    "another byte": lambda document: _replaced(documents.pop_of(document, "bob")),
    "for another account": lambda document: documents.pop_of(document, "alice"),
    "for another genesis": lambda document: documents.pop_of({**document, "prefix": "other_"}, "bob"),
    "high s": lambda document: keys.flip_s(bytes.fromhex(documents.pop_of(document, "bob"))).hex(),
    "first byte 27..30": lambda document: (
        f"{int(documents.pop_of(document, 'bob')[:2], 16) - 4:02x}" + documents.pop_of(document, "bob")[2:]
    ),
}


@pytest.mark.parametrize("what", WRONG_POPS)
def test_a_wrong_pop_is_refused(what: str) -> None:
    document = with_pops(plain())
    assert not problems(document)
    document["runner"][1]["pop"] = pop = WRONG_POPS[what](plain())
    found = problems(document)
    assert len(found) == 1
    assert found[0].startswith("runner[1].pop")
    assert "bob" in found[0]
    assert genesis.genesis_hash(document).hex() in found[0]
    if len(pop) == 130 and what != "no hex":
        key = keys.key_bytes(signing_key("bob"))
        assert not keys.check_pop(genesis.genesis_hash(document), "bob", key, bytes.fromhex(pop))
    del document["runner"][1]["pop"]
    assert [line.partition(":")[0] for line in problems(document)] == ["runner[1].pop"]


# -- the founding

A, B, C = (signing_key(name) for name in ("alice", "bob", "carol"))
X, Y = founder_key("owner"), founder_key("active")
HELPERS = (("helper", 2), ("other", 1))

FOUNDINGS: dict[str, tuple[Document, dict[str, int]]] = {
    "the founder alone": (founded(), {}),
    "two of three": (founded(owner=authority(2, (A, 1), (B, 1), (X, 1)), active=authority(2, (A, 1), (B, 1))), {}),
    "owner by another key": (founded(owner=authority(1, (X, 1))), {"owner": 1}),
    "owner lacks 3": (founded(owner=authority(5, (A, 1), (B, 1), (X, 9))), {"owner": 3}),
    "owner by accounts": (founded(owner=authority(2, accounts=(("alice", 2),))), {"owner": 2}),
    "owner never met": (founded(owner=authority(0, (A, 1))), {"owner": 1}),
    "active by another key": (founded(active=authority(1, (Y, 1))), {"active": 1, "majority": 1}),
    "active by accounts": (founded(active=authority(1, accounts=(("alice", 1),))), {"active": 1, "majority": 1}),
    "active lacks 2": (founded(active=authority(5, (A, 2), (C, 1))), {"active": 2}),
    "active never met": (founded(active=authority(0, (A, 1))), {"active": 1}),
    "half of active": (founded(active=authority(1, (A, 1), (Y, 1))), {"majority": 1}),
    "more than half": (founded(active=authority(2, (A, 2), (Y, 1))), {}),
    "a third of active": (founded(active=authority(1, (A, 5), (Y, 10))), {"majority": 3}),
    "half with accounts": (
        founded(active=authority(1, (A, 3), accounts=HELPERS)),
        {"majority": 1},
    ),
    "more with accounts": (founded(active=authority(1, (A, 4), accounts=HELPERS)), {}),
    "a key twice": (founded(active=authority(3, (A, 3), (A, 1), (Y, 2))), {}),
    "a key twice, light first": (
        founded(active=authority(3, (A, 1), (A, 3), (Y, 2))),
        {"active": 2, "majority": 1},
    ),
    "nothing": (founded(owner=authority(1), active=authority(1)), {"owner": 1, "active": 1, "majority": 1}),
}


@pytest.mark.parametrize("what", FOUNDINGS)
def test_a_founding_that_lacks_weight_is_refused_with_what_is_missing(what: str) -> None:
    document, missing = FOUNDINGS[what]
    assert {name: weight for name, weight in reference.weight_missing(document).items() if weight} == missing
    found = problems(document)
    assert len(found) == len(missing), found
    for role in ("owner", "active"):
        lines = [line for line in found if line.startswith(f"group.{role}: the runners' keys")]
        assert [f"lack a weight of {missing[role]} to meet" in line for line in lines] == [True] * (role in missing)
    majority = [line for line in found if "more than half" in line]
    assert [line.endswith(f"{missing['majority']} is missing") for line in majority] == [True] * ("majority" in missing)


def test_founder_keys_meet_owner_but_are_no_majority() -> None:
    owner = plain(founder_keys=[X])
    owner["group"]["owner"] = authority(1, (X, 1))
    assert not problems(with_pops(owner))
    active = plain(founder_keys=[Y])
    active["group"]["active"] = authority(1, (Y, 1))
    found = problems(with_pops(active))
    assert len(found) == 1
    assert "0 of 1; they need more than half: 1 is missing" in found[0]


def test_fewer_than_min_signers_is_allowed_and_nobody_is_not() -> None:
    assert not problems(with_pops(plain("alice")))
    assert genesis.parse(with_pops(plain("alice", "bob"))).founders == ("alice",)
    empty = plain(runner=[], collateral=[])
    assert any(line.startswith("runner: at least one") for line in problems(empty))


def test_the_posting_authority_is_the_accounts_own_affair() -> None:
    assert not problems(founded(posting=authority(9)))


# -- everything else that section 2 demands


def _put(path: str, value: Any) -> Document:
    """A document with one thing changed; ``path`` like "runner.1.account"."""
    document = copy.deepcopy(with_pops(documents.full() if path.startswith(("balance", "standing")) else plain()))
    place: Any = document
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[last] = value
    return document


WRONG: list[tuple[str, Any, str]] = [
    ("collateral.1.account", "alice", "twice"),
    ("collateral.1.amount", -1, "collateral[1].amount"),
    ("collateral.1.amount", 2**53 + 1, "collateral[1].amount"),
    ("collateral.1.amount", True, "collateral[1].amount"),
    ("collateral.1.amount", "5", "collateral[1].amount"),
    ("balance.0.account", "Erin", "balance[0].account"),
    ("balance.1.account", "erin", "twice"),
    ("balance.0.amount", -1, "balance[0].amount"),
    ("start_block", 1_050, "start_block: a positive multiple of round_length 100"),
    ("start_block", 0, "start_block"),
    ("start_block", -100, "start_block"),
    ("start_block", True, "start_block"),
    ("parameters.round_length", 300, "start_block: a positive multiple of round_length 300"),
    ("parameters.max_runners", 2, "min_signers"),
    ("parameters.max_runners", 41, "parameters.max_runners: 41 is not within 1..40"),
    ("parameters.rotate_owner", 1, "parameters.rotate_owner"),
    ("parameters.outbid", True, "parameters.outbid"),
    ("parameters.outbid", "110", "parameters.outbid"),
    ("parameters.report_at", 100, "parameters.report_at"),
    ("parameters.unheard_of", 1, "parameters.unheard_of: no such parameter"),
    ("unheard_of", 1, "unheard_of: no such key"),
    ("group.memo_key", A, "group.memo_key: no such key"),
    ("group.account", "NoName", "group.account"),
    ("group.account", 5, "group.account"),
    ("group.owner", {}, "group.owner"),
    ("group.active.weight_threshold", "one", "group.active"),
    ("group.active.key_auths", [[A[:-1], 1]], "group.active"),
    ("group.active.key_auths", [[A]], "group.active"),
    ("runner.1.account", "no", "runner[1].account"),
    ("runner.1.account", "alice", "runner[1].account: alice: twice"),
    ("runner.1.signing_key", A, "runner[1].signing_key: twice"),
    ("runner.1.signing_key", "TST" + B[3:], "runner[1].signing_key"),
    ("runner.1.signing_key", keys.key_text(bytes(33)), "runner[1].signing_key"),
    ("runner.1.signing_key", keys.key_text(b"\x02" + bytes(31) + b"\x05"), "no point of the curve"),
    ("runner.1.signing_key", ["x"], "runner[1].signing_key"),
    ("runner.1.domain", "https://BOB.example", "runner[1].domain"),
    ("runner.1.domain", "https://bob.example/path", "runner[1].domain"),
    ("runner.1.extra", 1, "runner[1].extra: no such key"),
    ("founder_keys", ["STM111"], "founder_keys[0]"),
    ("founder_keys", "x", "founder_keys"),
    ("standing_payout.0.asset", "VESTS", "standing_payout[0].asset"),
    ("standing_payout.0.amount", 0, "standing_payout[0].amount"),
    ("standing_payout.0.every", 0, "standing_payout[0].every"),
    ("standing_payout.0.memo", "é" * 257, "standing_payout[0].memo"),
    ("standing_payout.0.memo", "a\nb", "standing_payout[0].memo"),
    ("standing_payout.0.to", "x", "standing_payout[0].to"),
    ("chain_id", "4" * 63, "chain_id"),
    ("chain_id", "AB" * 32, "chain_id"),
    ("prefix", "", "prefix"),
    ("prefix", "Wag_", "prefix"),
    ("symbols", ["HIVE", "HBD"], "symbols"),
    ("address_prefix", "ST", "address_prefix"),
    ("runner", {}, "runner"),
    ("parameters", [], "parameters"),
    ("group", [], "group"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=lambda case: str(case)[:40])
def test_refusals_name_the_place(path: str, value: Any, message: str) -> None:
    found = problems(_put(path, value))
    assert any(message in line for line in found), found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("collateral.1.amount", 0, "collateral: bob has 0, a runner needs 1"),
        ("parameters.min_collateral", 101, "collateral: alice has 100, a runner needs 101"),
        ("collateral.1.account", "dave", "collateral: bob has 0, a runner needs 1"),
    ],
)
def test_a_runner_without_collateral_is_refused(path: str, value: Any, message: str) -> None:
    assert problems(with_pops(_put(path, value))) == [message]


@pytest.mark.parametrize("key", ["chain_id", "address_prefix", "symbols", "prefix", "start_block", "group"])
def test_a_missing_key_is_named(key: str) -> None:
    document = with_pops(plain())
    del document[key]
    assert f"{key}: missing" in problems(document)


def test_all_problems_are_told_at_once() -> None:
    document = _put("runner.1.account", "no")
    document["collateral"][2]["amount"] = -1
    document["group"]["account"] = "x"
    assert len(problems(document)) >= 3


# -- the state it begins


def test_the_genesis_state() -> None:
    whole = with_pops(documents.full())
    read = genesis.parse(whole)
    state = State(MemoryStore(), read.hash, round_length=read.params.round_length)
    view = state.view()
    block: Any = SimpleNamespace(number=1_000, id=b"\x01" * 20, timestamp=1_700_000_000)
    genesis.begin(view, read, block)
    state.commit(view)
    params = {(name,): [int(value)] for name, value in reference.canonical_map(whole)["parameters"].items()}
    names = [runner["account"] for runner in whole["runner"]]
    signing = {name: keys.key_bytes(signing_key(name)) for name in names}
    group = whole["group"]
    expected: dict[str, Any] = {
        "param": params,
        "authority": {(role,): _authority(group[role]) for role in ("owner", "active", "posting")},
        "node": {
            (name,): [
                "https://bob.example" if name == "bob" else "", signing[name], b"", False, None, signing[name],
                0, False, "",
            ]
            for name in names
        },
        "key": {(signing[name],): [name] for name in names},
        "runner": {(name,): [1_000, 0, 0] for name in names},
        "collateral": {(one["account"],): [one["amount"], 0] for one in whole["collateral"]},
        "balance": {(one["account"],): [one["amount"]] for one in whole["balance"]},
        "standing": {
            (at,): [one[field] for field in ("to", "amount", "asset", "every", "memo")]
            for at, one in enumerate(whole["standing_payout"])
        },
        "chron": {(29_800, 1): ["standing", "0"], (1_001, 2): ["standing", "1"]},
        "meta": {
            ("counters",): [0, 2],
            ("tally",): [1_000, False, 0, 1_000, 0, 0, 0],
            ("headers",): [None, None],
            ("owner_changes",): [[]],
            ("head",): [1_000, b"\x01" * 20, 1_700_000_000],
        },
    }  # fmt: skip
    assert state.root(1_000) == roots.state_root(read.hash, expected)
    assert state.trace(1_000) == roots.genesis_trace(b"\x01" * 20, expected)


def _authority(raw: dict[str, Any]) -> list[Any]:
    pairs = sorted([keys.key_bytes(text), weight] for text, weight in raw["key_auths"])
    return [raw["weight_threshold"], pairs, raw["account_auths"]]


def test_two_valid_pops_of_one_key_give_one_root() -> None:
    """Pops are not in the genesis hash, so they must not be in the state."""
    document = with_pops(plain())
    roots_found = set()
    for _ in range(2):
        read = genesis.parse(document)
        state = State(MemoryStore(), read.hash, round_length=read.params.round_length)
        view = state.view()
        genesis.begin(view, read, SimpleNamespace(number=1_000, id=b"\x01" * 20, timestamp=1_700_000_000))  # type: ignore[arg-type]
        state.commit(view)
        roots_found.add(state.current_root())
        document["runner"][1]["pop"] = documents.pop_of(document, "bob")
    assert len(roots_found) == 1
