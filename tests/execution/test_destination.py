import pytest

from diptych.base.errors import ParameterError
from diptych.execution import destination


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("s3:bucket/x", "Write s3://BUCKET/FOLDER"),
        ("nowhere://bucket/x", "no file system 'nowhere'"),
        ("https://example.org/x", "read-only"),
        ("gdrive://x", "Install it with pip"),
    ],
)
def test_what_cannot_be_written_to_is_refused_and_never_a_folder(
    tmp_path, monkeypatch, output, words
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=words):
        destination.resolve(output)
    assert not list(tmp_path.iterdir())


def test_folders_and_file_addresses_are_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert destination.resolve("") == destination.Destination()
    assert destination.resolve("out").folder == tmp_path / "out"
    assert destination.resolve(f"file://{tmp_path}/out").folder == tmp_path / "out"


def test_a_run_folder_is_copied_whole_its_manifest_last(tmp_path):
    import fsspec

    (tmp_path / "run" / "tables").mkdir(parents=True)
    for name in ("manifest.json", "notebook.html", "tables/a.csv"):
        (tmp_path / "run" / name).write_text(name)
    place = destination.resolve("memory://reports")
    address = place.upload(tmp_path / "run", "weekly/latest")
    assert address == "memory://reports/weekly/latest"
    files = fsspec.filesystem("memory")
    names = ("manifest.json", "notebook.html", "tables/a.csv")
    stored = {name: files.cat(f"/reports/weekly/latest/{name}").decode() for name in names}
    assert stored == {name: name for name in names}
    created = [files.created(f"/reports/weekly/latest/{name}") for name in names]
    assert created[0] == max(created)
