"""What the configuration says of a HAF database, and what a node makes of its past."""

import asyncio
from typing import Any

import pytest

from node import past_feed
from node.config import FeedConfig
from node.errors import FeedError
from node.history.dsn import holds_password
from node.past_feed import replay_past
from processors.engine import apply_block
from tests.node.audit.play import Play, Told, altered


class Core:
    """What of a node's core the past needs."""

    def __init__(self, play: Play) -> None:
        self.genesis = play.stage.genesis
        self.state = Play().stage.state

    def apply(self, block: Any, *, flush: bool = True) -> None:
        apply_block(self.state, self.genesis, block, flush=flush)


def replayed(monkeypatch, play, history):
    """(height, events) after a past."""
    told, core = [], Core(play)
    monkeypatch.setattr(past_feed, "past_of", lambda config, genesis: iter([history]))
    asyncio.run(replay_past(FeedConfig(), core, lambda name, fields: told.append((name, fields)), asyncio.Event()))
    return core.state.height, told


def test_all_of_it_is_applied_and_its_caveat_is_told(monkeypatch):
    play = Play()
    play.run(150)
    history = Told(play.blocks)
    history.caveat = "believed"
    height, told = replayed(monkeypatch, play, history)
    assert height == 250
    assert told == [("past_replay", {"source": "a test", "height": 100, "last": 250, "caveat": "believed"})]


def test_what_does_not_prove_or_follow_ends_it_and_the_node_goes_on(monkeypatch):
    play = Play()
    play.run(60)
    [reports, *_] = [block for block in play.blocks if block.transactions]
    false = altered(reports, lambda shown: shown["transactions"].pop())
    at = false.number
    height, told = replayed(monkeypatch, play, Told([*play.blocks[: at - 100], false, *play.blocks[at - 99 :]]))
    assert height == at - 1 and told[-1][0] == "past_failed"
    gap = Told(play.blocks[:30] + play.blocks[31:])
    height, told = replayed(monkeypatch, play, gap)
    assert height == 129 and "does not follow ours" in told[-1][1]["error"]


def test_a_source_that_cannot_be_opened_ends_nothing(monkeypatch):
    def broken(config, genesis):
        raise FeedError("it is not here: mount it")
        yield

    told, core = [], Core(Play())
    monkeypatch.setattr(past_feed, "past_of", broken)
    asyncio.run(replay_past(FeedConfig(), core, lambda name, fields: told.append((name, fields)), asyncio.Event()))
    assert told[0][0] == "past_failed" and "mount it" in told[0][1]["error"]


def test_what_begins_later_than_the_state_is_left_alone(monkeypatch):
    play = Play()
    play.run(60)
    assert replayed(monkeypatch, play, Told(play.blocks[30:])) == (100, [])


@pytest.mark.parametrize(
    ("dsn", "holds"),
    [
        ("host=/run/postgresql dbname=haf", False),
        ("postgresql://reader@db.example/haf", False),
        ("postgresql://reader:secret@db.example/haf", True),
        ("host=x password=secret", True),
        ("host=x PASSWORD = 'secret'", True),
        ("", False),
    ],
)
def test_a_dsn_with_a_password_is_known_as_one(dsn, holds):
    assert holds_password(dsn) == holds
