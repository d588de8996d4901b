"""Who listens to what. Decorators mark rules; the engine collects the marked functions of the rule modules.

A rule has a first height of its own (``since``, default 0): from there on it replaces the older one of the same name,
which stays in the code beside it (protocol section 9, "Rules change only at a height").
"""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from processors.shapes import Shape

F = TypeVar("F", bound=Callable[..., None])
_MARK = "__waggle_rule__"


class Rule(NamedTuple):
    """A function that listens: to a custom_json ("json"), a native operation ("native") or a job ("job")."""

    kind: str
    name: str
    since: int
    call: Callable[..., None]
    shape: Shape
    field: str  # of a native operation: names the account that it concerns
    members: bool  # whether it concerns members too, or the group account alone


def _mark(
    kind: str, names: Iterable[str], since: int, shape: Shape, field: str = "", members: bool = False
) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        setattr(function, _MARK, tuple(Rule(kind, name, since, function, shape, field, members) for name in names))
        return function

    return decorate


def custom_json(name: str, shape: Shape, *, since: int = 0) -> Callable[[F], F]:
    """``def rule(ctx, account, body)`` for our custom_json ``name``, its body already of ``shape``."""
    return _mark("json", (name,), since, shape)


def operation(*names: str, field: str, members: bool = False, since: int = 0) -> Callable[[F], F]:
    """``def rule(ctx, operation)`` for native operations whose ``field`` names the group account (or a member).

    All others are passed over before they are parsed.
    """
    return _mark("native", names, since, {}, field, members)


def job(name: str, *, since: int = 0) -> Callable[[F], F]:
    """``def rule(ctx, what)`` for due jobs of chron."""
    return _mark("job", (name,), since, {})


class Registry:
    """All rules, looked up by kind, name and height."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._rules: dict[tuple[str, str], list[Rule]] = {}
        for module in modules:
            for value in vars(module).values():
                marked: tuple[Rule, ...] = getattr(value, _MARK, ()) if callable(value) else ()
                if marked and value.__module__ == module.__name__:
                    for rule in marked:
                        self._rules.setdefault((rule.kind, rule.name), []).append(rule)
        for rules in self._rules.values():
            rules.sort(key=lambda rule: rule.since)
        #: heights at which some rule begins: between two of them the rules in force are the same
        self._beginnings = sorted({rule.since for rules in self._rules.values() for rule in rules})
        self._natives: dict[int, dict[str, Rule]] = {}

    def find(self, kind: str, name: str, height: int) -> Rule | None:
        """The rule in force at ``height``, or None."""
        found = None
        for rule in self._rules.get((kind, name), ()):
            if rule.since <= height:
                found = rule
        return found

    def natives(self, height: int) -> dict[str, Rule]:
        """The rules for native operations in force at ``height``, by their name in either API form."""
        age = sum(since <= height for since in self._beginnings)
        if age not in self._natives:
            self._natives[age] = self._natives_at(height)
        return self._natives[age]

    def _natives_at(self, height: int) -> dict[str, Rule]:
        found: dict[str, Rule] = {}
        for name in self.names("native"):
            rule = self.find("native", name, height)
            if rule is not None:
                found[name] = found[name + "_operation"] = rule
        return found

    def names(self, kind: str) -> frozenset[str]:
        """Every name of one kind."""
        return frozenset(name for k, name in self._rules if k == kind)


def describe(registry: Registry) -> dict[str, Any]:
    """Names by kind, for documentation and its test."""
    return {kind: sorted(registry.names(kind)) for kind in ("json", "native", "job")}
