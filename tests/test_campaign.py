"""The attack campaign in short: a little of each part, and that it sees what it looks for."""

import subprocess
import sys

import pytest

from diptych.core.store.calls import Calls


@pytest.mark.parametrize(
    "parts", [["pages", "requests"], pytest.param(["secrets"], marks=pytest.mark.long)]
)
def test_a_short_campaign_keeps_every_promise(request, parts):
    command = [sys.executable, request.config.rootpath / "benchmarks" / "campaign", "--short"]
    done = subprocess.run([*command, "--only", *parts], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "**no**" not in done.stdout
    assert done.stdout.count("| yes |") >= len(parts)


def test_the_campaign_sees_a_key_that_is_left(tmp_path, monkeypatch, request):
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks" / "campaign")
    import key_shapes

    keys = ["hf_abcdefghijklmnop", "other key"]
    (tmp_path / "a hf_abcdefghijklmnop").write_text("other key", encoding="utf-16")
    assert len(key_shapes.leaks(tmp_path, keys)) == 2
    (tmp_path / "a hf_abcdefghijklmnop").rename(tmp_path / "a")
    assert len(key_shapes.leaks(tmp_path, keys)) == 1


@pytest.fixture
def campaign(monkeypatch, request):
    """The campaign's modules can be imported."""
    monkeypatch.syspath_prepend(request.config.rootpath / "benchmarks" / "campaign")


def test_the_campaign_sees_an_answer_that_is_lost_or_paid_twice(campaign, tmp_path):
    from counting_endpoint import Bill, CountingEndpoint

    endpoint, row = CountingEndpoint(), {"endpoint": "e", "model": "m", "input": {}}
    bill = Bill(endpoint, tmp_path / "ledger.db", at_once=2)
    with Calls(bill.ledger) as calls:
        calls.log([{**row, "request": str(i)} for i in range(5)])
        endpoint.paid = 7
        bill.after_kill()
        assert (bill.lost, bill.twice()) == (0, 0), "two were under way"
        endpoint.paid = 10
        bill.after_kill()
        assert bill.lost == 1, "three, and two can have been under way"
        calls.log([{**row, "request": "4"}, {**row, "request": "4", "repeat": 1}])
    assert bill.twice() == 1


def test_the_campaign_sees_half_a_run(campaign, tmp_path):
    from killing import half_folders

    whole = {"manifest.json": '{"status": "ok"}', "notebook.ipynb": "", "notebook.html": ""}
    cases = {
        "whole": whole,
        "failed": {"manifest.json": '{"status": "failed"}'},
        "without page": {k: v for k, v in whole.items() if k != "notebook.html"},
        "without manifest": {k: v for k, v in whole.items() if k != "manifest.json"},
        ".staged.partial": {},
    }
    for name, files in cases.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert {x.name for x in half_folders(tmp_path)} == {"without page", "without manifest"}


def test_a_part_of_the_campaign_goes_on_with_its_figures(campaign, tmp_path, monkeypatch):
    import trust
    from figures import Figure

    monkeypatch.setattr(trust, "BENCHMARKS", tmp_path)
    for batch, fallen in enumerate((0, 2)):
        done = trust.Pass(
            "kills", 20, 60, [Figure("k", "lies", 20, fallen, among=5)], 27, 60, batch
        )
        if before := trust.recent("kills", 27):
            done = before.plus(done)
        done.store()
    last = trust.stored("kills")
    assert (last.size, last.seconds, last.load) == (40, 120, 1)
    assert last.figures == [Figure("k", "lies", 40, 2, among=10)]
    assert not last.holds
    assert trust.recent("kills", 27) is None, "what does not hold runs again"
    trust.write(["kills", "never ran"])
    page = (tmp_path / "TRUST.md").read_text()
    assert "| k | lies, of 10 | 40 | 2 | 0 | **no** |" in page
    assert "| kills | 40 of 60 |" in page
