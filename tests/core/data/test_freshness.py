import hashlib
import http.server
import sqlite3
import threading

import postgres
import pytest
import sqlalchemy

from diptych.core.data import freshness, readers
from diptych.core.store import records

TABLE = "age,label\n" + "1,yes\n2,no\n" * 20


class Files(http.server.BaseHTTPRequestHandler):
    """Serves one text; what HEAD says of it is the server's `marks`, or it knows no HEAD."""

    def do_GET(self):
        """Send the text."""
        self._send(self.server.content)

    def do_HEAD(self):
        """Send the marks only."""
        if self.server.marks is None:
            self.send_error(405)
        else:
            self._send(b"", self.server.marks)

    def _send(self, content, marks=()):
        self.send_response(200)
        for name, value in dict(marks).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.content, server.marks = TABLE.encode(), {}
    server.url = f"http://127.0.0.1:{server.server_port}/my.csv"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("marks", [{}, None])
def test_a_small_download_changes_by_its_content(web, marks):
    web.marks = marks
    first = records.source(web.url)
    assert first == records.source(web.url) != {}
    web.content += b"3,no\n"
    assert records.source(web.url) not in (first, {})


def test_a_large_download_changes_by_the_servers_marks(web):
    large = {"Content-Length": str(freshness.SMALL + 1)}
    web.marks = large | {"ETag": '"a"'}
    first = records.source(web.url)
    web.content += b"3,no\n"
    assert records.source(web.url) == first  # no more is known of it
    web.marks = large | {"ETag": '"b"'}
    assert records.source(web.url) not in (first, {})
    web.marks = large
    state = freshness.state(web.url)
    assert "neither ETag nor Last-Modified" in state.unknown
    assert "has changed cannot be known" in freshness.sentence(web.url, state)


def test_what_cannot_be_reached_is_said_and_not_taken_for_unchanged():
    state = freshness.state("http://127.0.0.1:1/my.csv?token=secret")
    assert (state.digest, bool(state.unknown)) == ("", True)
    assert "secret" not in freshness.sentence("http://127.0.0.1:1/my.csv?token=secret", state)


def test_a_file_by_its_url_and_a_name_that_is_no_place(tmp_path):
    path = tmp_path / "my.csv"
    path.write_text(TABLE)
    first = records.source(path.as_uri())
    assert first == records.source(str(path)) != {}
    path.write_text(TABLE + "3,no\n")
    assert records.source(path.as_uri()) not in (first, {})
    assert records.source("reviews") == {}


@pytest.mark.parametrize("query", ["", "?query=select age, label from people where age < 3"])
def test_a_database_changes_by_what_the_query_gives(tmp_path, query):
    path = tmp_path / "my.db"
    with sqlite3.connect(path) as database:
        database.execute("create table people (age integer, label text)")
        database.executemany("insert into people values (?, ?)", [(1, "yes"), (2, "no")])
    task = f"sqlite:///{path}{query}"
    first = records.source(task)
    with sqlite3.connect(path) as database:
        database.execute("insert into people values (9, 'no')")
    assert (records.source(task) == first) == bool(query)  # the query does not see that row
    with sqlite3.connect(path) as database:
        database.execute("update people set label = 'no' where age = 1")
    assert records.source(task) not in (first, {})
    assert freshness.state("sqlite:////nowhere/none.db").unknown


@pytest.fixture(scope="module")
def database():
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    with postgres.server() as url:
        yield url


def test_postgresql_is_read_and_its_changes_are_seen(database):
    newer = database.replace("postgresql:", "postgresql+psycopg:")
    engine = sqlalchemy.create_engine(newer, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "create table people (age integer, paid numeric(9, 2), seen timestamptz, label text)"
        )
        connection.exec_driver_sql(
            "insert into people select i, i / 3.0, now() + i * interval '1 day', "
            "case when mod(i, 2) = 0 then 'yes' else 'no' end from generate_series(1, 30) i"
        )
    raw = readers.read_table(database, {"table": "people"})
    assert raw.frame["age"].tolist() == list(range(1, 31))
    assert raw.frame["paid"][1] == 0.67
    some = readers.read_table(database, {"query": "select * from people where label like 'ye%'"})
    assert set(some.frame["label"]) == {"yes"}
    first = records.source(database, "table=people")
    with engine.begin() as connection:
        connection.exec_driver_sql("update people set paid = 7 where age = 3")
    assert records.source(database, "table=people") not in (first, {})


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_dvc_pointer_stands_for_its_file_and_a_wrong_sum_is_said(tmp_path, ends):
    path = tmp_path / "my.csv"
    path.write_bytes(TABLE.replace("\n", ends).encode())
    total = hashlib.md5(TABLE.encode()).hexdigest()  # as DVC 2 took it
    pointer = tmp_path / "my.csv.dvc"
    pointer.write_text(f"outs:\n- md5: {total}\n  size: {len(TABLE)}\n  path: my.csv\n")
    first = records.source(str(pointer))
    assert readers.read_table(str(pointer)).notes == []
    path.write_text(TABLE + "3,no\n")
    assert records.source(str(pointer)) not in (first, {})
    assert "is not what my.csv.dvc names" in readers.read_table(str(pointer)).notes[0]
