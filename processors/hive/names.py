"""Account names as Hive validates them (hived: libraries/protocol/authority.cpp)."""

import re

_NAME = re.compile(r"[a-z][a-z0-9-]*[a-z0-9](?:\.[a-z][a-z0-9-]*[a-z0-9])*", re.ASCII)


def is_account_name(text: str) -> bool:
    """3 to 16 letters; parts of at least 3 between dots, each from a letter to a letter or digit."""
    return (
        3 <= len(text) <= 16 and _NAME.fullmatch(text) is not None and all(len(part) >= 3 for part in text.split("."))
    )
