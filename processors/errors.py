"""How a rule says no."""


class Rejected(Exception):
    """An operation from the chain is rejected; ``code`` is one of docs/codes.md and all that enters the state."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class EngineError(Exception):
    """A block that cannot be applied to this state: the node stops and says why."""


class TooOldError(EngineError):
    """This version does not know the rules that come into force: the node stops before the block, nothing is lost."""


class GenesisError(Exception):
    """A genesis document that must not be used; ``problems`` lists all that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
