"""`feed.witness = true`: a block that its witness did not sign is a lie, as far as the witness's key is known."""

import asyncio
from hashlib import sha256

import msgspec
import pytest
from msgspec.structs import replace

from node.devnet.founding import CHAIN
from node.errors import ApiError, LieError
from node.feed.source import Given, read_proven
from node.feed.watch import WitnessCheck
from processors.hive.block import block_id, show_header, witness_digest
from processors.hive.crypto import public_key, sign
from processors.hive.keys import public_key_to_text
from tests.node.feed.many import RANGE, Many, chain_of, ranges_of, strange

WITNESSES = "database_api.find_witnesses"
LAST = 90
MALLORY = sha256(b"mallory").digest()


@pytest.fixture(scope="module")
def chain():
    return chain_of(LAST + 1)


@pytest.fixture
def many(chain):
    found = Many(chain, "north", "south", "east")
    found.feed.check_witness = WitnessCheck(found.feed, CHAIN.address_prefix, lambda *told: found.events.append(told))
    knowing(found)
    return found


def knowing(many, key=None, asked=None):
    """Servers that know the witness's key, from before the blocks that are fetched."""
    shown = public_key_to_text(key or many.chain.witness_key, CHAIN.address_prefix)

    def answer(params):
        if asked is not None:
            asked.append(params["owners"])
        return {"witnesses": [{"owner": "initminer", "signing_key": shown}]}

    for api in many.apis:
        api.answers[WITNESSES] = answer
        view = api.methods.call("database_api.get_dynamic_global_properties", {})
        api.answers["database_api.get_dynamic_global_properties"] = {
            **view,
            "head_block_number": 1,
            "last_irreversible_block_num": 1,
        }


def forged(chain, first, secret):
    """Blocks from ``first`` on as somebody else would make them: linked and whole, signed with ``secret``."""
    previous, headers = chain.block(first - 1).id, {}
    for number in range(first, chain.head_number + 1):
        true = chain.block(number).header
        headers[number] = signed(replace(true, previous=previous), secret)
        previous = block_id(headers[number])

    def change(number, block):
        if number not in headers:
            return block
        return {**block, **show_header(headers[number], typed=True), "block_id": block_id(headers[number]).hex()}

    return change


def signed(header, secret):
    """A header with a signature by ``secret``."""
    return replace(header, signature=sign(secret, witness_digest(header)))


def test_an_honest_chain_passes_and_is_asked_about_once(many):
    asked = []
    knowing(many, asked=asked)
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert asked == [["initminer"]] * 3, "one question to each server, not one a block"


@pytest.mark.parametrize("at", [3, 40, LAST])
def test_blocks_that_somebody_else_signed_are_a_lie(many, chain, at):
    many.apis[0].answers[RANGE] = ranges_of(chain, forged(chain, at, MALLORY))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    [told] = many.told("server_banned")
    assert told["operator"] == "north" and f"block {at} is not signed by its witness initminer" in told["why"]
    assert set(many.kept) == {f"lie-{at}-north"}


def test_the_key_is_asked_for_again_before_anybody_is_blamed(many, chain):
    """The witness may have changed it in a block that was not seen yet."""
    other = sha256(b"the witness's next key").digest()
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, forged(chain, 40, other))

    async def main():
        found, previous = [], many.id_of(1)
        async for given in many.feed.blocks(2, 39, previous, many.server(0)):
            found.append(given.block)
        knowing(many, public_key(other))
        async for given in many.feed.blocks(40, LAST, found[-1].id, many.server(0)):
            found.append(given.block)
        return found

    assert len(asyncio.run(main())) == LAST - 1
    assert many.standing() == ["good"] * 3


def test_without_answers_about_the_keys_blocks_are_taken_as_without_the_check(many, chain):
    for api in many.apis:
        api.answers[WITNESSES] = ApiError("silence")
    many.apis[0].answers[RANGE] = ranges_of(chain)
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["good"] * 3


def test_one_operators_word_about_a_key_condemns_nobody(many, chain):
    knowing(many)
    wrong = public_key_to_text(public_key(MALLORY), CHAIN.address_prefix)
    many.apis[2].answers[WITNESSES] = {"witnesses": [{"owner": "initminer", "signing_key": wrong}]}
    many.apis[1].answers[WITNESSES] = ApiError("silence")
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert many.standing() == ["good"] * 3


@pytest.mark.parametrize("answer", [None, 5, {}, {"witnesses": 5}, {"witnesses": [5]}, {"witnesses": [{}]}])
def test_nonsense_about_keys_stops_nothing(many, answer):
    for api in many.apis:
        api.answers[WITNESSES] = lambda params: answer
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)


@pytest.mark.parametrize("signature", [b"\0" * 65, b"\x1f" + b"\xff" * 64, b"\x1f" + b"\1" * 64])
def test_a_signature_that_is_none_is_a_lie(many, chain, signature):
    check = many.feed.check_witness

    async def main():
        async for given in many.feed.blocks(2, 39, many.id_of(1), many.server(0)):
            previous = given.block.id
        header = replace(chain.block(40).header, previous=previous, signature=signature)
        raw = {**chain.show_block(40, typed=True), **show_header(header, typed=True)}
        raw["block_id"] = block_id(header).hex()
        text = msgspec.json.encode(raw)
        with pytest.raises(LieError, match="block 40 is not signed"):
            await check(many.server(0), Given(read_proven(text, CHAIN), text))

    asyncio.run(main())


def test_after_a_block_that_we_cannot_read_the_check_goes_on(many, chain):
    for api in many.apis:
        api.answers[RANGE] = ranges_of(chain, strange({50}))
    found, error = many.fetch(2, LAST)
    assert error is None and many.is_true(found, 2, LAST)
    assert not many.told("server_banned") and len(many.told("unproven_block")) == 1
