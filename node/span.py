"""Spans of time and counts, for people."""

#: Seconds between two blocks of Hive, where none is missed.
BLOCK_SECONDS = 3

#: Seconds of a unit, its name, and the same of the next smaller one.
_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def span(seconds: int) -> str:
    """A span of time in its two largest units."""
    for unit, name, lower, lower_name in _UNITS:
        if seconds >= unit:
            return f"{seconds // unit} {name} {seconds % unit // lower} {lower_name}"
    return f"{seconds} s"


def plural(count: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
