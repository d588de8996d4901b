"""The connection to a HAF database, and the words in which it refuses: none of them ever holds a password.

The driver is imported only where it is used, so that everything else works without it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from node.errors import FeedError

if TYPE_CHECKING:
    from psycopg import Connection, Error

#: How long one query may take.
STATEMENT_SECONDS = 300
_CONNECT_SECONDS = 10


def connect(dsn: str) -> "tuple[Connection[Any], str]":
    """A read-only connection and its "HOST/DATABASE". Raises FeedError, which never holds the DSN or its password."""
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise FeedError("HAF is read with psycopg, which is not here: pip install 'psycopg[binary]'") from None
    given: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 60_000}
    try:
        given |= conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError):  # its words may quote any part of the DSN
        raise _not_a_dsn() from None
    if any("@" in str(given.get(part, "")) for part in ("host", "hostaddr", "port", "dbname")):
        raise _not_a_dsn()  # a password with @ or / in it, cut in the wrong place
    if not str(given.get("port") or "5432").replace(",", "").isdigit():
        raise _not_a_dsn()
    where = _where(given.get("host") or given.get("hostaddr"), given.get("dbname"))
    try:
        connection = psycopg.connect(**given | {"client_encoding": "utf8"}, autocommit=True)
    except (psycopg.Error, ValueError) as error:
        words = _without(_first_line(error), given)
        raise FeedError(
            f"the HAF database {where} cannot be reached: {words}: see that PostgreSQL runs there and lets this role in"
        ) from None
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return connection, _where(connection.info.host, connection.info.dbname)


def _not_a_dsn() -> FeedError:
    return FeedError(
        "the DSN of the HAF database cannot be read (it is not shown: it may hold a password): write "
        "postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE, in the password %40 for @, %2F for / and %25 for %"
    )


def _where(host: Any, database: Any) -> str:
    host = host or os.environ.get("PGHOST") or "localhost"
    return f"{host}/{database or os.environ.get('PGDATABASE') or 'default'}"


def _without(words: str, given: dict[str, Any]) -> str:
    for secret in ("password", "sslpassword"):
        if given.get(secret):
            words = words.replace(str(given[secret]), "***")
    return words


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def told(name: str) -> Iterator[None]:
    """What the database refuses within is a FeedError with the remedy."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise FeedError(f"{name}: {_remedy(error)}") from error


def _remedy(error: "Error") -> str:
    from psycopg import errors

    words = error.diag.message_primary or _first_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return f"{words}: GRANT hive_applications_group to this role"
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName | errors.UndefinedFunction):
        return f"{words}: name a HAF database of version 1.27.5 or later"
    if isinstance(error, errors.UndefinedColumn | errors.CannotCoerce | errors.DatatypeMismatch):
        return f"{words}: name a HAF database of version 1.27.5 or later"
    if isinstance(error, errors.QueryCanceled):
        return f"{words}: see that HAF has built its indexes, and try again while it has less to do"
    if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
        return f"the connection is lost ({words}): see that PostgreSQL runs, and begin again"
    return f"{words}: see the log of PostgreSQL"


def prepare(connection: "Connection[Any]") -> None:
    """For the whole session: nothing is written, and no query takes for ever."""
    settings = {
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "default_transaction_read_only": "on",
        "jit": "off",
    }
    for setting, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
