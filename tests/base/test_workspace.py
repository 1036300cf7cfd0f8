import os
import subprocess
import threading
from datetime import timedelta

import pytest
from disk import Disk

from diptych.base import workspace
from diptych.base.errors import WorkspaceError


def test_home_is_the_variable_and_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIPTYCH_HOME", "state/of it")
    assert workspace.home() == tmp_path / "state" / "of it"
    assert workspace.home().is_dir()
    assert workspace.runs().is_dir()
    assert workspace.tables().parent == workspace.ledger_path().parent == workspace.home()


def test_home_is_in_the_repository_from_any_folder_of_it(repository, monkeypatch):
    monkeypatch.delenv("DIPTYCH_HOME")
    monkeypatch.chdir(repository / "notebooks" / "mlops")
    assert workspace.repo_root() == repository
    assert workspace.home() == repository / ".diptych"


def test_the_repository_is_found_from_outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (workspace.repo_root() / "lib" / "diptych").is_dir()


def test_a_home_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(WorkspaceError, match=r"DIPTYCH_HOME: .*file/home cannot be made"):
        workspace.home()


def test_write_atomic_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.txt"
    workspace.write_atomic(path, "old é")
    workspace.write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.glob("*a.txt*")) == [path]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        workspace.write_atomic(path, "lone \ud800")
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        workspace.write_atomic(target, "a folder cannot be replaced by a file")
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "folder"]


def test_a_reader_beside_a_writer_never_sees_a_part(tmp_path):
    path = tmp_path / "a.bin"
    contents = {bytes([letter]) * 200_000 for letter in b"ab"}
    workspace.write_atomic(path, min(contents))
    done = threading.Event()

    def write():
        for content in [*contents] * 20:
            workspace.write_atomic(path, content)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= contents


def test_others_may_read_what_is_written(tmp_path):
    umask = os.umask(0o022)
    try:
        workspace.write_atomic(tmp_path / "page.html", "x")
    finally:
        os.umask(umask)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o644


def test_time_goes_on_in_a_workspace_when_the_clock_goes_back(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    first = workspace.now()
    (tmp_path / "clock").write_text((first + timedelta(hours=1)).isoformat())
    later = [workspace.now() for _ in range(3)]
    assert first < later[0] < later[1] < later[2]
    assert later[2] - first < timedelta(hours=1, seconds=1)
    (tmp_path / "clock").write_text("cut of")
    assert workspace.now() > first


@pytest.mark.parametrize("existed", [False, True])
def test_make_clean_removes_a_workspace_that_was_made_as_one(
    tmp_path, monkeypatch, request, existed
):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "a b"))
    if existed:
        (tmp_path / "a b").mkdir()
    workspace.ledger_path().touch()
    assert clean(request).returncode == 0
    assert not (tmp_path / "a b").exists()


def test_make_clean_keeps_any_other_folder(tmp_path, monkeypatch, request):
    (tmp_path / "thesis.tex").write_text("years of work")
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path))
    workspace.ledger_path().touch()
    done = clean(request)
    assert done.returncode != 0
    assert f"{tmp_path} was there before Diptych" in done.stderr
    assert (tmp_path / "thesis.tex").exists()


def clean(request):
    """Run `make clean` on a copy of the Makefile, away from the repository's own folders."""
    place = request.getfixturevalue("tmp_path_factory").mktemp("copy")
    (place / "Makefile").write_bytes((request.config.rootpath / "Makefile").read_bytes())
    return subprocess.run(["make", "-C", place, "clean"], capture_output=True, text=True)


def test_a_power_cut_takes_no_file_that_was_written(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    workspace.write_atomic(tmp_path / "a.txt", "new")
    assert disk.keeps(tmp_path / "a.txt")
    (beside,) = [path for kind, path in disk.events if kind == "sync" and ".a.txt." in path]
    assert disk.synced(beside, before=disk.named(tmp_path / "a.txt"))


def test_a_power_cut_takes_no_folder_that_was_published(tmp_path, monkeypatch):
    staged, place = tmp_path / ".staged", tmp_path / "place"
    (staged / "deep").mkdir(parents=True)
    (staged / "deep" / "a").write_text("a")
    os.mkfifo(staged / "pipe")
    (staged / "gone").symlink_to("nowhere")
    disk = Disk(monkeypatch)
    workspace.publish(staged, place)
    assert disk.keeps(place)
    assert (place / "deep" / "a").read_text() == "a"
    for path in (staged, staged / "deep", staged / "deep" / "a"):
        assert disk.synced(path, before=disk.named(place))


def test_a_new_workspace_survives_a_power_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "new"))
    disk = Disk(monkeypatch)
    folder = workspace.tables() / "a"
    folder.mkdir()
    workspace.sync(folder)
    for path in (tmp_path, tmp_path / "new", tmp_path / "new" / "tables", folder):
        assert disk.synced(path)
