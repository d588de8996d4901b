"""What a block brings that people must hear of: steps towards taking the account back, rules not known here."""

from collections.abc import Iterator

from node.span import BLOCK_SECONDS
from processors import upgrades
from processors.genesis import Genesis
from processors.params import read
from state.schema import FEED, MS
from state.state import State

_DAY = 86_400

Fields = dict[str, object]


def alarms(state: State, genesis: Genesis) -> Iterator[Fields]:
    """What the protocol calls an alarm in the block that was applied last, as fields of a log."""
    height = state.height
    for _, note in state.walk(FEED, height):
        yield {"height": height, "what": note.name, "account": note.account}
    if read(state.view()).rotate_owner:
        for (op,), record in state.walk(MS):
            if record.built == height and record.kind == "rotation" and "owner" not in record.roles:
                yield {"height": height, "what": "rotation_without_owner", "op": op}


def rules_to_come(state: State, genesis: Genesis) -> Iterator[Fields]:
    """At the end of each round: changes that were decided and that this version does not know."""
    height = state.height
    if height % genesis.params.round_length == 0:
        for at, name, value in upgrades.unknown(state):
            days = round((at - height) * BLOCK_SECONDS / _DAY, 1)
            about = {"height": at, "days": days, "what": f"{name} = {value}"}
            yield {**about, "remedy": "install a newer version"}
