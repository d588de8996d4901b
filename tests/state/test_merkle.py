"""state.merkle against the reference: roots of small and large sets, proofs, and what a damaged proof does."""

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state import merkle
from state.errors import ProofError
from state.tree import Tree
from tests.reference.proofs import prove_set, root_by
from tests.reference.roots import ZERO, bits, digest, set_root


def crowded(number: int) -> bytes:
    """One of many keys that share long beginnings, so that pages and buckets lie deep."""
    return (
        bytes([number % 3 * 85]) * (number % 7) + digest(bytes([number % 5]))[: 20 - number % 7] + number.to_bytes(12)
    )


plain_keys = st.binary(min_size=32, max_size=32)
crowded_keys = st.integers(0, 60).map(crowded)
keys = st.one_of(plain_keys, crowded_keys, st.integers(0, 200).map(lambda number: digest(number.to_bytes(2))))
values = st.integers(0, 255).map(lambda number: digest(b"value", bytes([number])))
sets = st.dictionaries(keys, values, max_size=60)


class Stored(dict[bytes, bytes]):
    """What a tree keeps in its store."""

    def put(self, path: bytes, value: bytes | None) -> None:
        """Store or delete."""
        if value is None:
            self.pop(path, None)
        else:
            self[path] = value

    def tree(self) -> Tree:
        """A tree that remembers nothing but what is stored."""
        return Tree(self.get, self.put)


def test_empty_set_is_32_zero_bytes() -> None:
    assert merkle.root_of([]) == merkle.ZERO == ZERO == Stored().tree().root() == bytes(32)


@given(plain_keys, st.integers(0, 255))
def test_bit_counts_from_the_highest(k: bytes, d: int) -> None:
    assert str(merkle.bit(k, d)) == bits(k)[d]


@given(sets)
@settings(max_examples=60, deadline=None)
def test_root_of_is_the_reference(entries: dict[bytes, bytes]) -> None:
    assert merkle.root_of(sorted(entries.items())) == set_root(list(entries.items()))


def test_keys_that_differ_in_the_last_bit_only() -> None:
    entries = [(bytes(31) + b"\0", digest(b"a")), (bytes(31) + b"\1", digest(b"b"))]
    assert merkle.root_of(entries) == set_root(entries) == Stored().tree().update(entries)


def reference_root(model: dict[bytes, bytes | None]) -> bytes:
    """The root of what is left."""
    return set_root([(k, v) for k, v in model.items() if v is not None])


steps = st.lists(st.dictionaries(keys, st.one_of(st.none(), values), max_size=25), max_size=8)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_tree_follows_updates_and_deletes(changes: list[dict[bytes, bytes | None]]) -> None:
    stored = Stored()
    model: dict[bytes, bytes | None] = {}
    tree = stored.tree()
    for change in changes:
        root = tree.update(change.items())
        model |= change
        model = {k: v for k, v in model.items() if v is not None}
        assert root == tree.root() == reference_root(model)
        assert stored.tree().root() == root
    assert tree.update(dict.fromkeys(model).items()) == ZERO
    assert not stored, "an empty set leaves nothing in its store"


def test_tree_grows_large_and_shrinks() -> None:
    stored = Stored()
    model: dict[bytes, bytes | None] = {}
    tree = stored.tree()
    for step in range(30):
        change: dict[bytes, bytes | None] = {digest(b"%d %d" % (step, at)): digest(b"v%d" % at) for at in range(40)}
        change |= {k: None for at, k in enumerate(sorted(model)) if (at + step) % (4 if step < 20 else 2) == 0}
        tree = stored.tree() if step % 5 == 4 else tree
        root = tree.update(change.items())
        model = {k: v for k, v in (model | change).items() if v is not None}
        assert root == reference_root(model)


def test_history_does_not_matter() -> None:
    entries = [(crowded(number), digest(bytes([number]))) for number in range(120)]
    one, other, other_stored = Stored().tree(), Stored(), Stored()
    one.update(entries)
    for entry in reversed(entries):
        other.tree().update([entry])
    tree = other_stored.tree()
    tree.update([(digest(bytes([number])), ZERO) for number in range(250)])
    tree.update(entries)
    tree.update([(digest(bytes([number])), None) for number in range(250)])
    assert one.root() == other.tree().root() == tree.root() == merkle.root_of(sorted(entries))


@given(st.dictionaries(keys, values, max_size=200), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_a_tree_built_at_once_is_the_one_built_entry_by_entry(entries: dict[bytes, bytes], chance: Random) -> None:
    """To the byte: a store made from a snapshot has the pages of one that saw every block, as far as nothing went."""
    at_once, in_parts, one_by_one = Stored(), Stored(), Stored()
    root = at_once.tree().update(entries.items())
    parts, each = in_parts.tree(), one_by_one.tree()
    for nibble in range(16):
        parts.update([(k, v) for k, v in entries.items() if k[0] >> 4 == nibble])
    for entry in chance.sample(sorted(entries.items()), len(entries)):
        each.update([entry])
    assert root == parts.root() == each.root() == reference_root(dict(entries))
    assert at_once == in_parts == one_by_one


@given(sets, sets, st.sets(keys, max_size=30))
@settings(max_examples=60, deadline=None)
def test_an_overlay_leaves_the_tree_below_as_it_is(
    entries: dict[bytes, bytes], more: dict[bytes, bytes], gone: set[bytes]
) -> None:
    stored = Stored()
    tree = stored.tree()
    root = tree.update(entries.items())
    before = dict(stored)
    above = tree.overlay()
    changes: dict[bytes, bytes | None] = {**more, **dict.fromkeys(gone)}
    assert above.update(changes.items()) == reference_root({**entries, **changes})
    assert (tree.root(), dict(stored), stored.tree().root()) == (root, before, root)
    for k in [*list(entries)[:3], *list(changes)[:3]]:
        assert merkle.verify(above.root(), k, above.proof(k)) == {**entries, **changes}.get(k)
        assert merkle.verify(root, k, tree.proof(k)) == entries.get(k)


@given(sets, keys)
@settings(max_examples=60, deadline=None)
def test_proofs_are_those_of_the_reference(entries: dict[bytes, bytes], wanted: bytes) -> None:
    pairs = sorted(entries.items())
    tree = Stored().tree()
    root = tree.update(pairs)
    for k in [wanted, *list(entries)[:5]]:
        expected = prove_set(pairs, k)
        for proof in (tree.proof(k), merkle.prove(pairs, k)):
            assert (proof.siblings, proof.entry) == (expected.siblings, expected.end)
            assert merkle.verify(root, k, proof) == entries.get(k)
            assert root_by(expected, k, entries.get(k)) == root


def proofs(size: int) -> list[tuple[bytes, bytes, merkle.Proof]]:
    """(root, k, proof) of present and absent keys."""
    pairs = sorted((digest(b"%d" % at), digest(b"v%d" % at)) for at in range(size))
    tree = Stored().tree()
    root = tree.update(pairs)
    wanted = [k for k, _ in pairs[:2]] + [digest(b"absent %d" % at) for at in range(6)]
    return [(root, k, tree.proof(k)) for k in wanted]


def test_both_kinds_of_absence_occur() -> None:
    ends = {None if proof.entry is None else proof.entry[0] == k for _, k, proof in proofs(40)}
    assert ends == {None, True, False}


@pytest.mark.parametrize("size", [1, 2, 40])
def test_every_flipped_byte_of_a_proof_fails(size: int) -> None:
    decode = msgspec.msgpack.Decoder(merkle.Proof).decode
    for root, k, proof in proofs(size):
        raw = msgspec.msgpack.encode(proof)
        merkle.verify(root, k, decode(raw))
        for at in range(len(raw)):
            for mask in (1, 1 << at % 8, 0x80, 0xFF):
                flipped = raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]
                try:
                    damaged = decode(flipped)
                except msgspec.MsgspecError:
                    continue
                with pytest.raises(ProofError):
                    merkle.verify(root, k, damaged)


def test_a_proof_holds_for_its_own_key_value_and_root_only() -> None:
    pairs = sorted((digest(b"%d" % at), digest(b"v%d" % at)) for at in range(40))
    root = merkle.root_of(pairs)
    k, v = pairs[7]
    proof = merkle.prove(pairs, k)
    for wrong in (
        merkle.Proof(proof.siblings, None),
        merkle.Proof(proof.siblings, (k, digest(v))),
        merkle.Proof(proof.siblings, pairs[8]),
        merkle.Proof(proof.siblings[:-1], proof.entry),
        merkle.Proof((*proof.siblings, ZERO), proof.entry),
        merkle.Proof(proof.siblings[::-1], proof.entry),
        merkle.Proof((ZERO,) * 257, proof.entry),
        merkle.Proof((*proof.siblings[:-1], proof.siblings[-1] + b"\0"), proof.entry),
        merkle.Proof(proof.siblings, (k + b"\0", v)),
    ):
        with pytest.raises(ProofError):
            merkle.verify(root, k, wrong)
    far = bytes([k[0] ^ 0x80]) + k[1:]
    with pytest.raises(ProofError):
        merkle.verify(root, far, proof)
    with pytest.raises(ProofError):
        merkle.verify(merkle.root_of(pairs[1:]), k, proof)


def test_an_inner_node_is_no_leaf() -> None:
    """A value made of two roots must not pass for a node: leaves and nodes are hashed apart."""
    pairs = sorted((digest(b"%d" % at), digest(b"v%d" % at)) for at in range(2))
    root = merkle.root_of(pairs)
    left, right = (digest(b"\0", *pair) for pair in pairs)
    for k, v in ((left, right), (ZERO, left), (left, ZERO)):
        with pytest.raises(ProofError):
            merkle.verify(root, k, merkle.Proof((), (k, v)))


def test_root_of_one_entry_ignores_its_depth() -> None:
    k, v = digest(b"k"), digest(b"v")
    assert merkle.root_of([(k, v)]) == merkle.root_of([(k, v)], 200) == merkle.leaf(k, v) == digest(b"\0", k, v)
