"""Databases: any that SQLAlchemy knows, by its URL and a query or the name of a table.

The query comes from `read_options` or from the URL itself (`sqlite:///sales.db?query=...`). A
password is in no message.
"""

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from diptych.core.data.readers.conventions import conventions_of
from diptych.core.data.readers.table import Guess, RawTable
from diptych.core.data.readers.typed import columns_of
from diptych.core.data.sources import DataError, first_line, resolve

SCHEMES = (
    "sqlite", "postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "duckdb",
    "snowflake", "bigquery", "redshift", "cockroachdb", "trino", "databricks", "clickhouse",
)  # fmt: skip
MAX_ROWS = 20_000_000


def is_database(location: str) -> bool:
    """Whether a location is the URL of a database."""
    scheme = location.partition("://")[0] if "://" in location else ""
    return scheme.partition("+")[0].lower() in SCHEMES


def shown_database(location: str) -> str:
    """Return a database's URL without user, password and query."""
    scheme, _, rest = location.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def table_name(location: str) -> str:
    """Return the table that a location names, else the database's name."""
    address, chosen = _split(location)
    if "table" in chosen:
        return chosen["table"]
    return Path(shown_database(address).partition("://")[2]).stem or "data"


def read_sql(location: str, options: Mapping[str, str]) -> RawTable:
    """Read what a query gives, or a whole table.

    Raises
    ------
    DataError
        If the URL, the query or the table is wrong, a driver is missing, or there are no rows.
    """
    place = shown_database(location)
    guesses: list[Guess] = []
    notes: list[str] = []
    names, rows = _result(location, options, guesses)
    if not rows:
        raise DataError(f"task: {place} gives no rows; change the query.")
    unwanted = {n.strip() for n in options.get("leave_out", "").split(",")}
    if unknown := unwanted - {"", *names}:
        raise DataError(f"read_options: leave_out={min(unknown)}: {place} gives no such column.")
    wanted = [at for at, name in enumerate(names) if name not in unwanted]
    frame = columns_of(
        [names[at] for at in wanted], [[row[at] for at in wanted] for row in rows], place, notes
    )
    conventions, marks = conventions_of(frame, "", options)
    return RawTable(frame, guesses + marks, notes, conventions)


def digest_of(location: str, options: Mapping[str, str]) -> str:
    """Return a digest of what a query or a table gives, whatever the order of its rows.

    Raises
    ------
    DataError
        As `read_sql` does.
    """
    names, rows = _result(location, options, [])
    total = 0
    for row in rows:
        one = hashlib.blake2b(repr(tuple(row)).encode(errors="surrogatepass"), digest_size=16)
        total = (total + int.from_bytes(one.digest())) % 2**128
    return hashlib.sha256(f"{names} {len(rows)} {total}".encode()).hexdigest()


def _result(location: str, options: Mapping[str, str], guesses: list[Guess]) -> Any:
    """Return the names and rows of a query or a table."""
    import sqlalchemy

    place = shown_database(location)
    address, chosen = _split(location)
    chosen |= {key: options[key] for key in ("query", "table") if key in options}
    try:
        url = sqlalchemy.make_url(address)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise DataError(
            f"task: {place} is no address of a database; write dialect://user@host/name."
        ) from error
    url, settings = _for_reading(url, place)
    try:
        engine = sqlalchemy.create_engine(
            url, execution_options=settings, poolclass=sqlalchemy.NullPool
        )
        with engine.connect() as connection:
            statement = chosen.get("query") or _whole_table(
                connection, chosen.get("table", ""), place, guesses
            )
            names, rows = _rows(connection, statement, place)
            connection.rollback()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, OSError) as error:
        raise _refused(error, url, place) from error
    return names, rows


def _split(location: str) -> tuple[str, dict[str, str]]:
    """Return the address of a database, and the query or table that it ends in.

    A query is taken as it is written: in a URL a + would be a space.
    """
    part = re.search(r"[?&](query|table)=(.*)$", location, re.DOTALL)
    if not part:
        return location, {}
    value = part[2] if " " in part[2] else unquote(part[2])
    return location[: part.start()], {part[1]: value}


def _for_reading(url: Any, place: str) -> Any:
    """Return an address and settings with which nothing can be written, where that can be had.

    A SQLite file that is not there is refused: connecting would make an empty one.
    """
    path = url.database or ""
    if url.get_backend_name() == "postgresql":
        if url.drivername == "postgresql" and not importlib.util.find_spec("psycopg2"):
            url = url.set(drivername="postgresql+psycopg")  # the newer one, which may be there
        return url, {"postgresql_readonly": True}
    if url.get_backend_name() != "sqlite" or path in ("", ":memory:") or path.startswith("file:"):
        return url, {}
    path = resolve(path)
    if not Path(path).is_file():
        raise DataError(f"task: there is no file {path}. Check the path in {place}.")
    read_only = {"mode": "ro", "uri": "true"}
    return url.set(database=f"file:{quote(path)}").update_query_dict(read_only), {}


def _whole_table(connection: Any, name: str, place: str, guesses: list[Guess]) -> str:
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    names = sorted([*inspector.get_table_names(), *inspector.get_view_names()])
    if not name:
        if len(names) != 1:
            listed = ", ".join(names[:20]) or "none"
            raise DataError(
                f"task: {place} needs a table or a query; its tables are {listed}. Give "
                'read_options: table=NAME, or query="select ..."'
            )
        name = names[0]
        guesses.append(Guess("table", name, "the only one there is", "query=select ..."))
    schema, _, table = name.rpartition(".")
    if name not in names and not schema:
        raise DataError(
            f"read_options: {place} has no table {name}; its tables are {', '.join(names[:20])}."
        )
    if name in names:
        schema, table = "", name
    quoted = connection.dialect.identifier_preparer.quote
    return f"SELECT * FROM {quoted(schema) + '.' if schema else ''}{quoted(table)}"


def _rows(connection: Any, statement: str, place: str) -> tuple[list[str], list]:
    # else a driver takes the % of LIKE 'a%' for a parameter
    result = connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    if not result.returns_rows:
        connection.rollback()
        raise DataError(f"task: the query for {place} gives no rows; give one that selects.")
    rows = result.fetchmany(MAX_ROWS + 1)
    if len(rows) > MAX_ROWS:
        raise DataError(
            f"task: the query for {place} gives more than {MAX_ROWS:,} rows; select a sample."
        )
    return [str(name) for name in result.keys()], rows  # noqa: SIM118 (a Result is no dict)


def _refused(error: Any, url: Any, place: str) -> DataError:
    import sqlalchemy

    reason = first_line(getattr(error, "orig", None) or error)
    for secret in (url.password, url.render_as_string(hide_password=False)):
        if secret:
            reason = reason.replace(str(secret), "***")
    if isinstance(error, ImportError | sqlalchemy.exc.NoSuchModuleError):
        return DataError(
            f"task: {place} needs a driver that is not installed ({reason}); install the package "
            "that SQLAlchemy names for this database, such as psycopg for postgresql+psycopg://"
        )
    return DataError(f"task: {place} cannot be read ({reason}). Check the address and the query.")
