"""Every row of hived_verdicts.md against the devnet's Hive: the same verdict, the same kind of error."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.devnet.errors import HivedRefusalError
from processors.hive.types import Authority
from tests.node.devnet.world import World, custom_json, high_s, key, keys_of, update

TABLE = Path(__file__).parents[2] / "vectors" / "hived_verdicts.md"
MANY = [key(f"many {number}") for number in range(41)]
THREE = MANY[:3]
A, B = custom_json("alice"), custom_json("bob")
POSTING = custom_json(posting=("alice",))


def rows() -> list[tuple[str, str, str]]:
    """(verdict, case, error) of each row."""
    lines = TABLE.read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("|")]
    return [(row[0], row[1], row[2] if len(row) > 2 else "") for row in cells if row[0] in ("ACCEPT", "REJECT")]


def twice(world: World) -> None:
    tx = world.sign(world.tx([A]), key("alice active"))
    world.chain.submit(replace(tx, signatures=tx.signatures * 2))


def twins(world: World) -> None:
    tx = world.sign(world.tx([A]), key("alice active"))
    world.chain.submit(replace(tx, signatures=(*tx.signatures, high_s(tx.signatures[0]))))


def header_27(world: World) -> None:
    tx = world.sign(world.tx([A]), key("alice active"))
    first = tx.signatures[0]
    world.chain.submit(replace(tx, signatures=(bytes([first[0] - 4]) + first[1:],)))


def by_some(count: int, of: int, threshold: int) -> Callable[[World], None]:
    def case(world: World) -> None:
        world.active(*MANY[:of], threshold=threshold)
        world.send([A], *MANY[:count])

    return case


def set_active(count: int, threshold: int) -> Callable[[World], None]:
    authority = keys_of(*MANY[:count], threshold=threshold)
    return lambda world: world.send([update(active=authority)], "alice active") and None


def unordered_keys(world: World) -> None:
    """Signed over keys in an order that hived's flat_map does not keep."""
    ordered = keys_of(*THREE, threshold=2)
    shuffled = Authority(2, (), tuple(reversed(ordered.key_auths)))
    expiration = world.chain.head_time + 60
    signed = world.sign(world.tx([update(active=shuffled)], expiration=expiration), key("alice active"))
    world.chain.submit(replace(world.tx([update(active=ordered)], expiration=expiration), signatures=signed.signatures))


def unordered_names(world: World) -> None:
    value = {**custom_json("alice", "bob").value, "required_auths": ("bob", "alice")}
    operation = custom_json("alice", "bob")
    expiration = world.chain.head_time + 60
    wrong = world.tx([type(operation)(operation.name, value)], expiration=expiration)
    signatures = world.sign(wrong, key("alice active"), key("bob active")).signatures
    world.chain.submit(replace(world.tx([operation], expiration=expiration), signatures=signatures))


def expires(after: int) -> Callable[[World], None]:
    return lambda world: world.send([A], "alice active", expiration=world.chain.head_time + after) and None


def after_a_block(world: World) -> None:
    world.send([A] * 5, "alice active")
    world.chain.produce()
    world.send([A] * 5, "alice active")


def third_owner_change(world: World) -> None:
    for number in range(3):
        world.send([update(owner=keys_of(MANY[number]))], MANY[number - 1] if number else "alice owner")
        world.chain.produce()


def dave_is_frank(world: World) -> None:
    world.send([update("dave", active=keys_of(accounts={"frank": 1}))], "dave active")
    world.chain.produce()


def dave_by(signer: str) -> Callable[[World], None]:
    def case(world: World) -> None:
        dave_is_frank(world)
        world.send([custom_json("dave")], signer)

    return case


def duplicate(world: World) -> None:
    tx = world.sign(world.tx([A]), key("alice active"))
    world.chain.submit(tx)
    world.chain.produce()
    world.chain.submit(tx)


def case(*operations, signers=("alice active",), **changes) -> Callable[[World], None]:  # type: ignore[no-untyped-def]
    return lambda world: world.send(list(operations), *signers, **changes) and None


def of_json(text: str) -> Callable[[World], None]:
    return case(custom_json("alice", json=text))


BOTH = ("alice active", "alice posting")
OWNER = update(owner=keys_of(MANY[0]))
CASES: dict[str, Callable[[World], None]] = {
    "custom_json required_auths signed by active": case(A),
    "custom_json required_posting_auths signed by posting": case(POSTING, signers=("alice posting",)),
    "active op signed by OWNER key only": case(A, signers=("alice owner",)),
    "active op signed by active + stranger (superfluous)": case(A, signers=("alice active", "stranger")),
    "active op with no signature": case(A, signers=()),
    "same signature twice": twice,
    "sig and its high-S twin (same key, two different signatures)": twins,
    "signature header 27+recid instead of 31+recid": header_27,
    "mixed posting+active in one tx, both sigs": case(A, POSTING, signers=BOTH),
    "one custom_json with required_auths and required_posting_auths, both sigs": case(
        custom_json("alice", posting=("alice",)), signers=BOTH
    ),
    "two accounts required_auths, one sig": case(custom_json("alice", "bob")),
    "account_update active := 2-of-3 (signed by active)": set_active(3, 2),
    "1 of 3 sigs": by_some(1, 3, 2),
    "2 of 3 sigs": by_some(2, 3, 2),
    "3 of 3 sigs (threshold 2)": by_some(3, 3, 2),
    "active authority with 41 keys": set_active(41, 27),
    "active authority with 40 keys, threshold 27": set_active(40, 27),
    "26 of 40": by_some(26, 40, 27),
    "40 of 40": by_some(40, 40, 27),
    "active authority threshold 40 of 40": set_active(40, 40),
    "40 of 40 with threshold 40": by_some(40, 40, 40),
    "account_update with key_auths in non-canonical order (digest over that order)": unordered_keys,
    "expiration = head + 3600": expires(3600),
    "expiration = head + 3601": expires(3601),
    "expiration = head + 86401": expires(86401),
    "expiration = head (already due)": expires(0),
    "TaPoS wrong prefix": case(A, ref_block_prefix=1),
    "TaPoS never existing slot 65535 with prefix 0 (young chain only)": case(
        A, ref_block_num=65535, ref_block_prefix=0
    ),
    "5 custom_json of one account in one tx": case(*[A] * 5),
    "6 custom_json of one account in one tx": case(*[A] * 6),
    "after a block: again 5": after_a_block,
    "json 8192 bytes": of_json('"' + "x" * 8190 + '"'),
    "json 8193 bytes": of_json('"' + "x" * 8191 + '"'),
    "json 8192 chars but more bytes (utf-8 é)": of_json('"' + "é" * 8190 + '"'),
    "id 32 chars": case(custom_json("alice", name="i" * 32)),
    "empty id": case(custom_json("alice", name="")),
    "json = not json": of_json("not json"),
    "json = empty string": of_json(""),
    "no auths": case(custom_json()),
    "unsorted required_auths (digest over that order)": unordered_names,
    "owner change signed by active": case(OWNER),
    "owner change + active custom_json in one tx, owner+active sigs": case(
        OWNER, A, signers=("alice owner", "alice active")
    ),
    "3rd owner change within the limit window": third_owner_change,
    "owner+active ops in one tx, both sigs": case(A, OWNER, signers=("alice owner", "alice active")),
    "account_update of active signed by OWNER only (no owner field)": case(
        update(active=keys_of(MANY[0])), signers=("alice owner",)
    ),
    "active of D := account F only": dave_is_frank,
    "D by F active": dave_by("frank active"),
    "D by F owner": dave_by("frank owner"),
    "duplicate tx": duplicate,
}
#: Refused while hived reads the JSON: the server's part, see test_server.py.
BY_SERVER = {"id 33 chars"}


def test_every_row_is_here() -> None:
    named = [name for _, name, _ in rows()]
    assert len(named) == len(set(named)) >= 50
    assert set(named) == CASES.keys() | BY_SERVER


@pytest.mark.parametrize(("wanted", "name", "error"), [row for row in rows() if row[1] in CASES])
def test_row(wanted: str, name: str, error: str) -> None:
    world = World()
    if wanted == "ACCEPT":
        CASES[name](world)
        world.chain.produce()
        assert not world.chain.pool
        assert world.chain.included
        return
    with pytest.raises(HivedRefusalError) as caught:
        CASES[name](world)
    refusal = caught.value
    words = error.removeprefix("assert: ").replace("eeplg59a", "alice")
    assert words in (refusal.name, refusal.title) or words in refusal.message
    assert error.startswith("assert: ") == (refusal.name == "assert_exception")
