import numpy as np
import pandas as pd

from diptych.core.data import leaks
from diptych.core.data.column import Column


def frame(rows=400, share=0.3):
    rng = np.random.default_rng(0)
    label = np.where(rng.random(rows) < share, "yes", "no")
    return pd.DataFrame(
        {
            "label": label,
            "chance": rng.choice(list("abc"), rows),
            "twin": np.where(label == "yes", "left", "stayed"),
            "after": pd.Series(np.where(label == "yes", rng.random(rows), np.nan)),
            "score": np.where(label == "yes", 1, 0) + rng.random(rows) * 0.9,
            "key": [str(i) for i in range(rows)],
        }
    )


KINDS = {"chance": "category", "twin": "category", "after": "number", "score": "number",
         "key": "category"}  # fmt: skip
COLUMNS = [Column(name, name, kind) for name, kind in KINDS.items()]


def test_columns_that_tell_the_label_are_found_and_others_are_not():
    telling = dict(leaks.telling(frame(), COLUMNS))
    assert set(telling) == {"twin", "after", "score"}
    assert telling["twin"] == telling["after"] == 1


def test_a_rare_class_alone_makes_no_column_telling():
    rows = frame(2_000, 0.015)
    assert {name for name, _ in leaks.telling(rows, COLUMNS)} <= {"twin", "after", "score"}
    assert "chance" not in dict(leaks.telling(rows, COLUMNS))


def test_few_rows_tell_nothing():
    assert leaks.telling(frame(12), COLUMNS) == []
    assert leaks.telling(frame().assign(label="yes"), COLUMNS) == []
