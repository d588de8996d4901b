"""docs/vectors against the reference implementation that wrote them, and against the project's code."""

import json
import tomllib
from typing import Any

import pytest

from processors import genesis
from processors.hive.crypto import recover
from processors.hive.errors import SignatureError
from processors.hive.keys import public_key_from_text
from state import merkle
from state.codec import H, pack, unpack
from state.errors import ProofError
from state.tree import Tree
from tests.reference import keys, roots
from tests.reference.make_vectors import FOLDER, GENESIS_HASH, texts
from tests.reference.packing import decode, encode
from tests.reference.proofs import SetProof, root_by


def vectors(name: str) -> Any:
    """The content of a file of docs/vectors."""
    return json.loads(FOLDER.joinpath(name).read_text(encoding="utf-8"))


def hexed(value: str | None) -> bytes | None:
    """Bytes of hex, or None."""
    return None if value is None else bytes.fromhex(value)


def project_pairs(entries: list[list[str]]) -> list[merkle.Entry]:
    """(k, v) of packed entries, by the project's codec."""
    return sorted((_sha_of(key), _sha_of(value)) for key, value in entries)


def _sha_of(packed: str) -> bytes:
    raw = bytes.fromhex(packed)
    assert pack(unpack(raw)) == raw == encode(decode(raw))
    return roots.digest(raw)


@pytest.mark.parametrize("name", ["root.json", "trace.json", "genesis.json", "pop.json", "proof.json"])
def test_files_are_what_the_reference_writes(name: str) -> None:
    assert FOLDER.joinpath(name).read_text(encoding="utf-8") == texts()[name]


@pytest.mark.parametrize("vector", vectors("root.json")["sets"], ids=lambda vector: str(vector["size"]))
def test_root_of_a_set(vector: Any) -> None:
    pairs = project_pairs(vector["entries"])
    assert merkle.root_of(pairs).hex() == vector["root"]
    stored: dict[bytes, bytes | None] = {}
    assert Tree(stored.get, stored.__setitem__).update(pairs).hex() == vector["root"]
    assert roots.set_root(pairs).hex() == vector["root"]


@pytest.mark.parametrize("vector", vectors("root.json")["states"])
def test_root_of_a_state(vector: Any) -> None:
    tables = {name: merkle.root_of(project_pairs(entries)) for name, entries in vector["tables"].items()}
    tops = sorted((roots.digest(name.encode()), root) for name, root in tables.items() if root != merkle.ZERO)
    assert H(["root", GENESIS_HASH, merkle.root_of(tops)]).hex() == vector["root"]


def test_traces() -> None:
    told = vectors("trace.json")
    for block in told["blocks"]:
        listed = [[name, hexed(key), hexed(value)] for name, key, value in block["changes"]]
        made = H(["trace", hexed(block["before"]), hexed(block["block_id"]), listed])
        assert made.hex() == block["trace"]
    later = told["blocks"][1:]
    assert [block["before"] for block in later[1:]] == [block["trace"] for block in later[:-1]]


@pytest.mark.parametrize("vector", vectors("genesis.json"), ids=lambda vector: vector["name"])
def test_genesis_hash(vector: Any) -> None:
    document = tomllib.loads(vector["document"])
    assert pack(["genesis", genesis.normal_form(document)]).hex() == vector["packed"]
    assert genesis.genesis_hash(document).hex() == vector["hash"]
    assert genesis.parse(document).hash.hex() == vector["hash"]


@pytest.mark.parametrize("vector", vectors("pop.json")["pops"], ids=lambda vector: vector["what"])
def test_pops(vector: Any) -> None:
    pop, told = bytes.fromhex(vector["pop"]), genesis.pop_digest(GENESIS_HASH, vector["account"])
    key = public_key_from_text(vector["signing_key"], "STM")
    assert told.hex() == vector["digest"]
    assert key == keys.key_bytes(vector["signing_key"]) == keys.public(keys.throw_away(vector["secret_is_sha256_of"]))
    try:
        found = recover(pop, told) == key
    except SignatureError:
        found = False
    assert found == vector["valid"] == keys.check_pop(GENESIS_HASH, vector["account"], key, pop)


def set_proof(vector: Any) -> SetProof:
    """A proof as a file holds it."""
    end = vector["end"]
    return SetProof(
        tuple(bytes.fromhex(sibling) for sibling in vector["siblings"]),
        None if end is None else (bytes.fromhex(end[0]), bytes.fromhex(end[1])),
    )


@pytest.mark.parametrize("vector", vectors("proof.json")["sets"], ids=lambda vector: f"{vector['size']} {vector['v']}")
def test_proofs_in_sets(vector: Any) -> None:
    root, k, v, proof = bytes.fromhex(vector["root"]), bytes.fromhex(vector["k"]), hexed(vector["v"]), set_proof(vector)
    assert root_by(proof, k, v) == root
    assert merkle.verify(root, k, merkle.Proof(proof.siblings, proof.end)) == v
    with pytest.raises(ProofError):
        merkle.verify(roots.digest(root), k, merkle.Proof(proof.siblings, proof.end))


def test_proofs_in_a_state() -> None:
    told = vectors("proof.json")["state"]
    for vector in told["proofs"]:
        by_name = set_proof(vector["by_name"])
        k_name, k_key = roots.digest(vector["table"].encode()), roots.digest(bytes.fromhex(vector["key"]))
        table_root, value = None, hexed(vector["value"])
        v = None if value is None else roots.digest(value)
        if vector["by_key"] is not None:
            by_key = set_proof(vector["by_key"])
            table_root = root_by(by_key, k_key, v)
            assert table_root is not None
            assert merkle.verify(table_root, k_key, merkle.Proof(by_key.siblings, by_key.end)) == v
        top = root_by(by_name, k_name, table_root)
        assert top is not None
        assert merkle.verify(top, k_name, merkle.Proof(by_name.siblings, by_name.end)) == table_root
        assert H(["root", bytes.fromhex(told["genesis_hash"]), top]).hex() == told["root"]
