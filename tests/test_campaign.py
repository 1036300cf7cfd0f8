"""The attack campaign in short: a little of each part, and that it sees what it looks for."""

import subprocess
import sys

import pytest


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
