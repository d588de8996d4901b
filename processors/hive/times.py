"""Hive's timestamps: integer seconds since 1970, as text without zone ("2026-11-21T00:00:00")."""

import re
from functools import lru_cache
from typing import Any

from processors.hive.errors import HiveDataError

_TEXT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})", re.ASCII)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _days_before(year: int) -> int:
    """Days from 1970-01-01 to the first of January of ``year``."""
    past = year - 1
    return past * 365 + past // 4 - past // 100 + past // 400 - 719162


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _month_days(year: int, month: int) -> int:
    return 29 if month == 2 and _is_leap(year) else _MONTH_DAYS[month - 1]


def time_from_text(text: Any) -> int:
    """Seconds since 1970 of a timestamp; HiveDataError for what is none or does not fit 32 bits."""
    if type(text) is not str or len(text) != 19:
        raise HiveDataError(f"not a timestamp: {str(text)[:40]!r}")
    return _seconds(text)


@lru_cache(maxsize=4096)
def _seconds(text: str) -> int:
    match = _TEXT.fullmatch(text)
    if match is None:
        raise HiveDataError(f"not a timestamp: {text!r}")
    year, month, day, hour, minute, second = map(int, match.groups())
    if not (1 <= month <= 12 and 1 <= day <= _month_days(year, month) and hour < 24 and minute < 60 and second < 60):
        raise HiveDataError(f"not a timestamp: {text}")
    days = _days_before(year) + sum(_month_days(year, m) for m in range(1, month)) + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    if not 0 <= seconds < 1 << 32:
        raise HiveDataError(f"timestamp {text} does not fit 32 bits")
    return seconds


def time_to_text(seconds: int) -> str:
    """The text of ``seconds`` since 1970."""
    days, rest = divmod(seconds, 86400)
    year = 1970 + days // 366
    while _days_before(year + 1) <= days:
        year += 1
    day = days - _days_before(year)
    month = 1
    while day >= _month_days(year, month):
        day -= _month_days(year, month)
        month += 1
    return f"{year:04}-{month:02}-{day + 1:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
