"""The DSN of a database, where it may not hold a password: a command line and a configuration are read by others."""

import re

_PASSWORD = re.compile(r"passw(or)?d\s*=|://[^/@]*:[^/]*@|sslpassword", re.IGNORECASE)
REMEDY = "the DSN holds a password (it is not shown): put it into ~/.pgpass, mode 0600, and leave it out"


def holds_password(dsn: str) -> bool:
    """Whether a DSN, in either form that libpq takes, brings a password along."""
    return _PASSWORD.search(dsn) is not None
