import csv
import shlex

import numpy as np
import pandas as pd
import pytest

from diptych.core.data import inspection, tasks
from diptych.core.data.tasks import OwnRows


def inspect(path, **chosen):
    return inspection.inspect_file(OwnRows(str(path), **chosen))


@pytest.fixture
def clients(tmp_path):
    """A table without a column called label, with a leak and a conflict."""
    rng = np.random.default_rng(0)
    left = rng.choice(["yes", "no"], 200)
    frame = pd.DataFrame(
        {
            "customer_id": [f"C{i:05d}" for i in range(200)],
            "Monthly charge ($)": [f"{x:.2f}".replace(".", ",") for x in rng.uniform(9, 99, 200)],
            "plan": rng.choice(["yearly", "monthly", ""], 200),
            "signup": pd.date_range("2024-01-01", periods=200).strftime("%d.%m.%Y"),
            "reason": np.where(left == "yes", "price", ""),
            "churned": left,
        }
    )
    frame = pd.concat([frame, frame.iloc[:1].assign(churned="no", customer_id="C00200")])
    frame.iloc[0, -1] = "yes"
    path = tmp_path / "clients.csv"
    frame.to_csv(path, index=False, sep=";")
    return path


def test_a_file_is_understood_without_a_word(clients):
    result = inspect(clients)
    assert (result.rows, result.problem) == (201, "")
    assert {x["guessed"]: x["value"] for x in result.guesses}["separator"] == ";"
    assert result.roles["label_column"] == "churned"
    assert result.roles["time_column"] == ""  # a time may be anything: it is only named
    assert any("'signup' holds times: if one is when" in line for line in result.warnings)
    assert set(result.classes) == {"yes", "no"}
    columns = {x["column"]: x for x in result.columns}
    assert columns["Monthly charge ($)"]["kind"] == "number"
    assert columns["Monthly charge ($)"]["read as"] == "decimal ,"
    assert columns["plan"]["missing"] == pytest.approx(1 / 3, abs=0.1)
    assert list(result.left_out) == ["customer_id"]


def test_leaks_and_conflicts_are_named(clients):
    warnings = inspect(clients).warnings
    assert any("'reason' tells the label" in line for line in warnings)
    assert any("2 rows have equal content and different labels" in line for line in warnings)


def test_the_command_takes_the_file_as_it_was_understood(clients):
    result = inspect(clients)
    words = shlex.split(result.command)
    assert words[:4] == ["diptych", "run", "mlops/1_data", "-p"]
    chosen = dict(word.split("=", 1) for word in words[4::2])
    task = tasks.get(chosen.pop("task"), **chosen)
    assert set(task.features) == {"Monthly_charge", "plan", "reason", "signup"}
    assert task.load()["Monthly_charge"].between(9, 99).all()


def test_labels_that_are_no_names_are_told_until_they_have_some(clients):
    assert any("labels=no:NAME,yes:NAME" in line for line in inspect(clients).warnings)
    named = inspect(clients, label_column="churned", read_options="labels=yes:left,no:stayed")
    assert set(named.classes) == {"left", "stayed"}
    assert not any("no names" in line for line in named.warnings)


def test_what_was_given_is_not_guessed(clients):
    result = inspect(clients, label_column="plan", read_options="leave_out=reason")
    assert result.roles["label_column"] == "plan"
    assert "reason" not in {x["column"] for x in result.columns}
    assert "read_options=leave_out=reason" in result.command


def test_a_problem_is_told_beside_what_was_understood(tmp_path):
    path = tmp_path / "one.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["size", "label"], *([i * 1.5, "same"] for i in range(40))])
    result = inspect(path)
    assert "one class only" in result.problem
    assert [x["column"] for x in result.columns] == ["size"]
    assert "Problem" in inspection.as_text(result)


def test_the_only_column_of_text_is_the_text_beside_a_time(tmp_path):
    path = tmp_path / "mails.csv"
    topics = ["the parcel came late again", "my invoice is wrong by some euros"]
    lines = [f"{1 + i % 27:02d}.01.2025;{topics[i % 2]}, see number {i};{i % 2}" for i in range(60)]
    path.write_text("\n".join(["received;message;topic", *lines]) + "\n")
    result = inspect(path)
    assert result.roles["text_column"] == "message"
    assert "text_column=message" in result.command


def test_a_label_that_is_not_there_is_named_with_the_likely_one(clients):
    warnings = inspect(clients, label_column="Churned").warnings
    assert "there is no column 'Churned'; 'churned' may be the label" in warnings
    assert not any("no label was named" in line for line in warnings)
