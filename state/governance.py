"""The values of governance and treasury (protocol section 10); their tables are in state/schema.py."""

from state.table import Value


class Numbered(Value, frozen=True):
    """``meta/proposals``: the last proposal number given."""

    last: int


class Emergency(Value, frozen=True):
    """``meta/emergency``: heights; 0 = never. Before a height nothing but rotations, or no rotation, is built."""

    halted_until: int
    halt_again: int  # no halt begins before this height
    held_until: int


class Move(Value, frozen=True):
    """``move``: one of an account's newest movements of tokens."""

    height: int
    kind: str  # sent | received | locked | leaving | kept | unlocked
    other: str  # the other account of a send, else ""
    amount: int
    memo: str


class Moves(Value, frozen=True):
    """``moves``: how many movements an account has had, ``moved``: and had after a block."""

    count: int


class Leaving(Value, frozen=True):
    """``leaving``: collateral on its way out, in four parts."""

    amount: int
    moved: int
    parts: int  # that were moved, 0..3
    job: tuple[int, int]


class Proposal(Value, frozen=True):
    """``proposal``: what seats vote on. ``ops`` is empty for a change, ``name`` for operations."""

    proposer: str
    made: int  # height
    expires: int  # height
    ops: bytes  # a count, then operations in the legacy pack
    name: str
    value: int
    delay: int  # blocks
    job: tuple[int, int]


class Decided(Value, frozen=True):
    """``decided``: the end of a proposal."""

    proposal: Proposal
    status: str  # approved | rejected | expired
    height: int
    yes: int
    no: int
    seats: int
    payload: int  # of approved operations, else 0


class Vote(Value, frozen=True):
    """``vote``: of an account that had a seat."""

    yes: bool
    height: int


class Action(Value, frozen=True):
    """``action``: what a payload from a proposal does besides the fields of Payload."""

    proposal: int
    not_before: int  # height of its time lock's end, 0 without one
    hive: int  # what leaves, smallest units
    hbd: int
    ops: bytes  # empty for a single transfer


class Spend(Value, frozen=True):
    """``spend``: what a payload that was built takes away, until it is a window old."""

    height: int
    hive: int
    hbd: int
    job: tuple[int, int]


class Total(Value, frozen=True):
    """``spending``: what was built within the window, of one asset."""

    amount: int


class Holding(Value, frozen=True):
    """``treasury``: what the feed showed of one asset; for people, no rule depends on it."""

    income: int
    spent: int


class Changed(Value, frozen=True):
    """``changed``: a change whose height has come."""

    before: int
    after: int
    is_in_force: bool
