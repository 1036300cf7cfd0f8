"""Digests are SHA-256 as any other tool computes it, so that earlier manifests stay comparable."""

import hashlib
import os

import pytest

from diptych.base import environment, hashing, workspace


def test_a_file_has_the_digest_that_other_tools_give_it(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hashing.of_file(file) == hashing.of_file_now(file) == hashing.of_path(file) == expected
    file.write_bytes(b"abcd")
    assert hashing.of_file(file) == hashing.of_file_now(file) != expected


def test_a_listing_counts_names_and_contents_in_order():
    text = "a 1\nb 2\n"
    assert hashing.of_listing([("a", "1"), ("b", "2")]) == hashlib.sha256(text.encode()).hexdigest()


def test_the_source_digest_is_a_listing_of_the_package(monkeypatch, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_bytes(b"abc")
    monkeypatch.setattr(workspace, "PACKAGE", tmp_path)
    line = f"a/b.py {hashlib.sha256(b'abc').hexdigest()}\n"
    assert environment.source_digest() == hashlib.sha256(line.encode()).hexdigest()


def test_a_folder_of_too_many_files_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(hashing, "MOST_FILES", 1)
    for name in "ab":
        (tmp_path / name).write_text("")
    with pytest.raises(hashing.TooMany, match="more than 1 files"):
        hashing.of_path(tmp_path)


def test_a_file_that_keeps_its_size_and_time_but_not_its_content_is_read_again(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,label\n1,a\n")
    before, status = hashing.of_file(path), path.stat()
    path.write_text("x,label\n1,b\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert hashing.of_file(path) != before
