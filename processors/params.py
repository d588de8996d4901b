"""The protocol's parameters: defaults and bounds (protocol section 1, docs/parameters.md)."""

from collections.abc import Collection

import msgspec

from state.schema import PARAM, Parameter
from state.view import View


class Params(msgspec.Struct, frozen=True):
    """All parameters in force. Flags are bools here and 0 or 1 in the state."""

    round_length: int = 100
    report_at: int = 50
    recast_every: int = 30
    header_lifetime: int = 86_400
    header_min_left: int = 1_200
    rotation_lifetime: int = 7_200
    payload_lifetime: int = 86_400
    absent_rounds: int = 12
    seat_rounds: int = 12
    ripe_rounds: int = 288
    max_runners: int = 25
    min_signers: int = 3
    min_collateral: int = 1
    outbid: int = 110
    rotation_change: int = 25
    rotation_margin: int = 10
    rotation_patience: int = 12
    rotate_owner: bool = True
    rotate_posting: bool = True
    max_in_flight: int = 4
    max_merge: int = 20
    max_attempts: int = 5
    max_members: int = 1_000
    max_queue: int = 1_000
    max_rejections: int = 20
    history: int = 28_800
    trace_keep: int = 2_400
    hive_rules: int = 28
    unlock_part: int = 201_600
    spend_limit_hive: int = 0
    spend_limit_hbd: int = 0
    spend_window: int = 28_800
    large_hive: int = 0
    large_hbd: int = 0
    large_delay: int = 28_800
    change_delay: int = 28_800
    halt_blocks: int = 28_800
    value_limit: int = 1_000


#: (lowest, highest, unit) of those that came with section 10.
_LATER_BOUNDS: dict[str, tuple[int, int, str]] = {
    "unlock_part": (1, 1_000_000, "blocks"),
    "spend_limit_hive": (0, 2**53, "smallest units"),
    "spend_limit_hbd": (0, 2**53, "smallest units"),
    "spend_window": (1, 1_000_000, "blocks"),
    "large_hive": (0, 2**53, "smallest units"),
    "large_hbd": (0, 2**53, "smallest units"),
    "large_delay": (0, 1_000_000, "blocks"),
    "change_delay": (0, 1_000_000, "blocks"),
    "halt_blocks": (1, 1_000_000, "blocks"),
    "value_limit": (0, 2**53, "smallest units for 1,000 of the token's"),
}
#: (lowest, highest, unit) of each parameter.
BOUNDS: dict[str, tuple[int, int, str]] = {
    "round_length": (10, 10_000, "blocks"),
    "report_at": (1, 9_999, "blocks, below round_length"),
    "recast_every": (1, 1_000, "blocks"),
    "header_lifetime": (60, 86_400, "seconds"),
    "header_min_left": (3, 86_400, "seconds, below header_lifetime"),
    "rotation_lifetime": (60, 86_400, "seconds"),
    "payload_lifetime": (60, 86_400, "seconds"),
    "absent_rounds": (1, 10_000, "agreed rounds"),
    "seat_rounds": (0, 10_000, "rounds"),
    "ripe_rounds": (0, 100_000, "agreed rounds"),
    "max_runners": (1, 40, "runners"),
    "min_signers": (1, 40, "keys, at most max_runners"),
    "min_collateral": (0, 2**53, "smallest units"),
    "outbid": (100, 1_000, "percent"),
    "rotation_change": (0, 100, "percent"),
    "rotation_margin": (0, 1_000, "percent"),
    "rotation_patience": (1, 10_000, "agreed rounds"),
    "rotate_owner": (0, 1, "flag"),
    "rotate_posting": (0, 1, "flag"),
    "max_in_flight": (2, 20, "group transactions"),
    "max_merge": (1, 100, "payloads"),
    "max_attempts": (1, 100, "attempts"),
    "max_members": (1, 10_000, "members"),
    "max_queue": (1, 10_000, "payloads"),
    "max_rejections": (0, 1_000, "entries a block"),
    "history": (100, 10_512_000, "blocks"),
    "trace_keep": (100, 1_000_000, "blocks"),
    "hive_rules": (27, 28, "hardfork"),
    **_LATER_BOUNDS,
}
#: Where a genesis does not name one of these it is neither in its hash nor in ``param``.
LATER = frozenset(_LATER_BOUNDS)
#: No proposal can change them.
_FIXED = frozenset({"round_length", "trace_keep"})
FLAGS = frozenset({"rotate_owner", "rotate_posting"})


def defaults(given: dict[str, object]) -> dict[str, object]:
    """Every parameter: as given, else its default (header_lifetime depends on hive_rules)."""
    found: dict[str, object] = {name: getattr(Params(), name) for name in BOUNDS}
    if given.get("hive_rules") == 27:
        found["header_lifetime"] = 3_300
    return {**found, **given}


def problems(values: dict[str, object]) -> list[str]:
    """What is wrong with a full set of parameters, one line each."""
    found = [f"parameters.{name}: no such parameter" for name in sorted(values.keys() - BOUNDS.keys())]
    numbers: dict[str, int] = {}
    for name, (low, high, unit) in BOUNDS.items():
        value = values[name]
        if isinstance(value, int) and isinstance(value, bool) == (name in FLAGS) and low <= value <= high:
            numbers[name] = int(value)
        else:
            found.append(f"parameters.{name}: {value!r} is not within {low}..{high} ({unit})")
    if found:
        return found
    if numbers["report_at"] >= numbers["round_length"]:
        found.append(
            f"parameters.report_at: {numbers['report_at']} is not below round_length {numbers['round_length']}"
        )
    # seconds: a header's age when the tally elects the next one
    oldest = 3 * (2 * numbers["round_length"] - numbers["report_at"])
    if numbers["header_min_left"] + oldest >= numbers["header_lifetime"]:
        found.append(
            f"parameters.header_min_left: {numbers['header_min_left']} and {oldest} s for two rounds less report_at "
            f"are not below header_lifetime {numbers['header_lifetime']}: nothing could be built"
        )
    if numbers["trace_keep"] < 2 * numbers["round_length"]:
        found.append(f"parameters.trace_keep: {numbers['trace_keep']} is below two rounds: roots could not be compared")
    if numbers["hive_rules"] < 28 and numbers["header_lifetime"] > 3_600:
        found.append("parameters.header_lifetime: at most 3600 with hive_rules 27: Hive refuses what expires later")
    if numbers["min_signers"] > numbers["max_runners"]:
        found.append(f"parameters.min_signers: {numbers['min_signers']} is above max_runners {numbers['max_runners']}")
    return found


def written_out(given: dict[str, object]) -> dict[str, object]:
    """What a genesis hash holds: every parameter, those that came later only where they are given."""
    return {name: value for name, value in defaults(given).items() if name not in LATER or name in given}


def is_proposable(name: str) -> bool:
    """Whether a proposal can change a parameter."""
    return name in BOUNDS and name not in _FIXED


def fit(values: Params) -> bool:
    """Whether parameters in force would fit together."""
    return not problems({name: getattr(values, name) for name in BOUNDS})


def write(view: View, params: Params, named: Collection[str] = LATER) -> None:
    """Put the parameters into the state (at genesis), those that came later only where they are ``named``."""
    for name in BOUNDS:
        if name not in LATER or name in named:
            view.put(PARAM, Parameter(int(getattr(params, name))), name)


def read(view: View) -> Params:
    """The parameters in force."""
    return view.derive(PARAM, _read)


def _read(view: View) -> Params:
    return msgspec.convert({str(name): entry.value for (name,), entry in view.walk(PARAM)}, Params, strict=False)
