"""What a block brings that people must hear of: steps towards taking the account back, rules that are not known here."""

from collections.abc import Iterator

from processors import upgrades
from processors.genesis import Genesis
from state.schema import FEED, MS
from state.state import State

BLOCK_SECONDS = 3
_DAY = 86_400

Alarm = tuple[str, dict[str, object]]


def alarms(state: State, genesis: Genesis) -> Iterator[Alarm]:
    """(event, fields) of the block that was applied last: what the protocol calls an alarm, and rules to come."""
    height = state.height
    for _, note in state.walk(FEED, height):
        yield "alarm", {"height": height, "what": note.name, "account": note.account}
    if genesis.params.rotate_owner:
        for (op,), record in state.walk(MS):
            if record.built == height and record.kind == "rotation" and "owner" not in record.roles:
                yield "alarm", {"height": height, "what": "rotation_without_owner", "op": op}
    if height % genesis.params.round_length == 0:
        for at, name, value in upgrades.unknown(state):
            days = round((at - height) * BLOCK_SECONDS / _DAY, 1)
            about = {"height": at, "days": days, "what": f"{name} = {value}"}
            yield "upgrade_needed", {**about, "remedy": "install a newer version"}
