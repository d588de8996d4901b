"""Changes of parameters and rules at a height that the state names (protocol sections 3, step 1, and 9).

A change stands in the table ``change`` long before its height. A version that does not know what it names stops before
it applies that block, and can say so days ahead.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from msgspec.structs import replace

from processors import params
from processors.errors import TooOldError
from processors.params import BOUNDS
from processors.seats import collateral_in
from state.schema import CHANGE, CHANGED, PARAM, RUNNER, Changed
from state.table import Key, Table, V
from state.view import View

#: The name of the change that is none of a parameter: the number of the rules in force.
RULES = "rules"
#: The newest rules that this version knows.
KNOWN_RULES = 1


class Readable(Protocol):
    """A state, or a view of one."""

    def walk(self, table: Table[V], *start: int | str | bytes) -> Iterator[tuple[Key, V]]:
        """The entries of a table by key fields."""


def apply_due(view: View, height: int) -> None:
    """Put the changes whose height has come in force. Raises TooOldError if this version does not know one."""
    due = [(_fields(key)[1], change) for key, change in view.walk(CHANGE, height)]
    for name, change in due:
        if not _is_known(name, change.value):
            raise TooOldError(
                f"from block {height} on the group follows {name} = {change.value}, which this version does not "
                f"know: install a newer one, the node goes on from here"
            )
        view.delete(CHANGE, height, name)
        before = _value(view, name)
        fits = name == RULES or _fits(view, name, change.value)
        is_new = fits and (name == RULES or before != change.value)
        view.put(CHANGED, Changed(before, change.value, is_new), height, name)
        if is_new:
            view.put(PARAM, change, name)


def unknown(state: Readable) -> list[tuple[int, str, int]]:
    """(height, name, value) of the changes to come that this version does not know, the first first."""
    found: list[tuple[int, str, int]] = []
    for key, change in state.walk(CHANGE):
        height, name = _fields(key)
        if not _is_known(name, change.value):
            found.append((height, name, change.value))
    return found


def _fits(view: View, name: str, value: int) -> bool:
    """Whether the parameters fit together then, and enough runners keep their seats to decide anything again."""
    if name == "min_collateral":
        seats = [collateral_in(view, str(account)) for (account,), _ in view.walk(RUNNER)]
        kept = sum(found >= value for found in seats)
        if kept < min(len(seats), params.read(view).min_signers):
            return False
    return params.fit(replace(params.read(view), **{name: _typed(name, value)}))


def _value(view: View, name: str) -> int:
    """What is in force."""
    return rules_in_force(view) if name == RULES else int(getattr(params.read(view), name))


def rules_in_force(view: View) -> int:
    """The number of the rules; those of a young group are 1."""
    found = view.get(PARAM, RULES)
    return found.value if found is not None else 1


def _typed(name: str, value: int) -> int | bool:
    """Flags are bools outside the state."""
    return bool(value) if name in params.FLAGS else value


def _fields(key: Any) -> tuple[int, str]:
    height, name = key
    return int(height), str(name)


def _is_known(name: str, value: int) -> bool:
    if name == RULES:
        return value <= KNOWN_RULES
    return name in BOUNDS and BOUNDS[name][0] <= value <= BOUNDS[name][1]
