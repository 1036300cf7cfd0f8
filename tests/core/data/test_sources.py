import gzip
import http.server
import threading
from functools import partial

import pandas as pd
import pytest
from deltalake import write_deltalake

from diptych.core.data import readers, sources
from diptych.core.data.sources import DataError

CSV = "text,label\ngood film,1\nbad film,0\n"


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; ``cut.csv`` ends early and ``huge.csv`` announces a terabyte."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.startswith(("/cut.csv", "/huge.csv")):
            self.send_response(200)
            self.send_header("Content-Length", "1000" if "cut" in self.path else str(10**12))
            self.end_headers()
            self.wfile.write(CSV.encode())
        else:
            super().do_GET()


@pytest.fixture
def web(tmp_path):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Server, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def read_frame(location):
    return readers.read_table(location).frame


def rows(location):
    return read_frame(sources.resolve(location)).to_dict("records")


FILM = [{"text": "good film", "label": "1"}, {"text": "bad film", "label": "0"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("UPPER.CSV", CSV),
        ("with space.csv", CSV),
        ("mark.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("windows.csv", CSV.replace("\n", "\r\n")),
        ("semicolon.csv", CSV.replace(",", ";")),
        ("tabs.tsv", CSV.replace(",", "\t")),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("tabs.tsv.gz", gzip.compress(CSV.replace(",", "\t").encode(), mtime=0)),
    ],
)
def test_every_form_of_a_csv_gives_the_same_rows(place, name, content):
    assert rows(place(name, content)) == FILM


def test_fields_are_text_and_an_empty_one_is_null(place):
    found = read_frame(place("a.csv", 'a,b,c\n1,"x, ""y""\nz",\nNA,007,"é, 日本"\n'))
    assert found.values.tolist()[1] == ["NA", "007", "é, 日本"]
    assert found.loc[0, "b"] == 'x, "y"\nz'
    assert found["c"].isna().tolist() == [True, False]


def test_a_row_longer_than_a_megabyte_is_read_whole(place):
    long = "word " * 300_000
    assert read_frame(place("a.csv", f'text,label\n"{long}",1\n'))["text"][0] == long


def test_parquet_and_delta_keep_their_types_and_drop_an_unnamed_index(tmp_path):
    frame = pd.DataFrame({"größe in cm": [1.5, 2.5], "label": ["a", "b"]}, index=[7, 3])
    frame.to_parquet(tmp_path / "a.parquet")
    write_deltalake(str(tmp_path / "my table é"), frame.reset_index(drop=True))
    for name in ("a.parquet", "my table é"):
        found = read_frame(str(tmp_path / name))
        pd.testing.assert_frame_equal(found, frame.reset_index(drop=True))


def test_a_file_url_is_its_path(tmp_path, place):
    assert rows(place("with space.csv", CSV)) == rows((tmp_path / "with space.csv").as_uri())


def test_a_relative_path_is_found_here_and_from_the_repository(place, tmp_path, monkeypatch):
    place("here.csv", CSV)
    monkeypatch.chdir(tmp_path)
    assert sources.resolve("here.csv") == str(tmp_path / "here.csv")
    repository = sources.workspace.repo_root()
    monkeypatch.chdir(repository / "notebooks")
    assert sources.resolve("pyproject.toml") == str(repository / "pyproject.toml")


def test_a_url_is_downloaded_and_unpacked(place, web):
    place("a.csv", CSV)
    place("b.csv.gz", gzip.compress(CSV.encode(), mtime=0))
    assert rows(f"{web}/a.csv?version=2") == rows(f"{web}/b.csv.gz") == FILM


def test_a_shown_url_has_no_secret():
    url = "https://user:pass@example.org/data/a.csv?token=abc#x"
    assert sources.shown(url) == "https://example.org/data/a.csv"


@pytest.mark.parametrize(
    ("location", "stem"),
    [
        ("/x/my data.csv", "my data"),
        ("/x/a.b.csv.gz", "a.b"),
        ("/x/delta", "delta"),
        ("https://example.org/a%20b.parquet?x=/y.csv", "a b"),
        ("https://example.org/", "data"),
    ],
)
def test_stem(location, stem):
    assert readers.stem(location) == stem


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "\n\n", "a.csv is empty"),
        ("a.csv", "text,label\n", "columns but no rows"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("a.csv", "<!DOCTYPE html><html></html>", "is a web page, not a table"),
        ("a.csv", "text,label\na,b\na,b,c\n", "row 2 has 3 fields, not 2"),
        ("a.csv", "a,b,a\n1,2,3\n", "has the column 'a' twice"),
        ("a.csv.gz", b"text,label\na,b\n", "not a whole gzip file"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-12], "not a whole gzip file"),
        ("a.parquet", b"PAR1 and no more", "not a whole Parquet file"),
        ("a.xlsx", b"PK", "cannot be read as a spreadsheet"),
        ("a.pdf", b"PK", r"no supported format.*\.csv, \.tsv,.*\.parquet"),
    ],
)
def test_a_damaged_file_is_refused(place, name, content, message):
    with pytest.raises(DataError, match=f"(?s)^task: .*{message}"):
        read_frame(place(name, content))


def test_a_missing_file_is_refused_with_the_nearest_name(place, tmp_path):
    place("reviews.csv", CSV)
    with pytest.raises(DataError, match=r"no file .*revews\.csv\. Did you mean 'reviews\.csv'"):
        read_frame(str(tmp_path / "revews.csv"))
    with pytest.raises(DataError, match="no file"):
        read_frame(str(tmp_path / "no folder" / "a.csv"))


def test_a_folder_that_is_no_delta_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither a Delta table nor Parquet files but nothing"):
        read_frame(str(tmp_path))
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(DataError, match="cannot be read as a Delta table"):
        read_frame(str(tmp_path))
    (tmp_path / "[a]" / "_delta_log").mkdir(parents=True)
    with pytest.raises(DataError, match="use a folder without"):
        read_frame(str(tmp_path / "[a]"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/none.csv", "answered 404"),
        ("/cut.csv?token=secret", "ended after 34 of 1000 bytes"),
        ("/huge.csv", "larger than 500 MB"),
        ("/download", "answered 404"),
    ],
)
def test_a_failed_download_is_refused_and_shows_no_secret(web, path, message):
    with pytest.raises(DataError, match=message) as caught:
        read_frame(web + path)
    assert "secret" not in str(caught.value)


def test_an_unreachable_server_is_refused():
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as closed:
        port = closed.server_port
    with pytest.raises(DataError, match=r"cannot be downloaded \(.*refused"):
        read_frame(f"http://127.0.0.1:{port}/a.csv")


def test_an_unknown_scheme_is_refused():
    with pytest.raises(DataError, match="ftp:// is no address"):
        sources.resolve("ftp://example.org/a.csv")


def test_size_is_bounded_after_unpacking_too(place, web, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 2**20)
    bomb = place("bomb.csv.gz", gzip.compress(b"a,b\n" * 2**20, mtime=0))
    with pytest.raises(DataError, match="larger than 1 MB"):
        read_frame(bomb)
    place("big.csv", b"a,b\n" * 2**19)
    with pytest.raises(DataError, match="larger than 1 MB"):
        read_frame(f"{web}/big.csv")
