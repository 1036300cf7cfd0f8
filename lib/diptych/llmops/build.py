"""Stage 2, build: nothing is fitted; prompts, models and numbers of examples are compared."""

from collections.abc import Sequence

import pandas as pd

from diptych.core.evaluation import stats, text_metrics
from diptych.core.store.records import Record, RecordError
from diptych.llmops.client.options import CallOptions
from diptych.llmops.evaluation import scorers
from diptych.llmops.evaluation.evaluate import COLUMNS, evaluate
from diptych.llmops.prompts.variant import Variant

MLOPS = " (MLOps)"  # after the names of models of the other panel


def pick(tried: pd.DataFrame, variants: Sequence[Variant]) -> tuple[list[Variant], pd.DataFrame]:
    """Choose shots and temperature for each prompt and model, by the rows not used to judge.

    Of equals the one with fewer tokens is taken.

    Parameters
    ----------
    tried : DataFrame
        What `evaluate` returned for these variants.

    Returns
    -------
    variants : list of Variant
        The best of each prompt and model, the best of all first.
    trials : DataFrame
        ``name``, ``prompt``, ``valid`` (score), ``tokens in`` and ``kept``.
    """
    groups = tried.groupby("variant")
    table = pd.DataFrame({"name": [variant.name for variant in variants]})
    table["prompt"] = [variant.prompt.name for variant in variants]
    table["valid"] = table["name"].map(groups["score"].mean())
    table["tokens in"] = table["name"].map(groups["prompt_tokens"].mean())
    whose = [
        (v.prompt.name, v.target.endpoint, v.target.model, str(v.target.server)) for v in variants
    ]
    order = table.assign(whose=whose).sort_values(
        ["valid", "tokens in"], ascending=[False, True], kind="stable"
    )
    first = order[~order["whose"].duplicated()].index
    table["kept"] = table.index.isin(first)
    return [variants[i] for i in first], table


def beside(
    variants: Sequence[Variant],
    rows: pd.DataFrame,
    left: Record,
    options: CallOptions = CallOptions(),
    *,
    pool: Sequence[tuple] = (),
) -> pd.DataFrame:
    """Ask variants about rows and put what the left panel's models said of them below.

    Without rows it has no lines; takes what `evaluate` and `from_left` take.
    """
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    asked = evaluate(variants, rows, options, pool=pool)
    return pd.concat([asked, from_left(left, rows)], ignore_index=True)


def from_left(record: Record, rows: pd.DataFrame, families: Sequence[str] = ()) -> pd.DataFrame:
    """Return what the left panel's models said of the same rows, as `evaluate` returns it.

    Parameters
    ----------
    record : Record
        A run of ``mlops/2_build``.
    rows : DataFrame
        With ``id``.
    families : sequence of str
        Only these; all by default.

    Raises
    ------
    RecordError
        If that run judged other rows, or none of these families.
    """
    said = record.table("test_predictions")
    if families:
        said = said[said["family"].isin(families)]
    right = pd.Series([scorers.wanted(row) for row in rows.to_dict("records")], dtype="str")
    found = rows[["id"]].assign(expected=right.to_numpy())
    found = found.merge(said, on="id", validate="one_to_many")
    sizes = found.groupby("family").size()
    if found.empty or "score" not in found or sizes.ne(len(rows)).any():
        raise RecordError(f"{record.id} has no predictions for these rows; run {record.notebook}")
    found["variant"] = found["family"] + MLOPS
    found = found.assign(repeat=0, error="", usd=0.0, cached=True)
    return found.reindex(columns=list(COLUMNS)).sort_values(["variant", "id"], ignore_index=True)


def faithful(results: pd.DataFrame, rows: pd.DataFrame, graded: str) -> dict[str, stats.Estimate]:
    """Return of each variant the share of summaries whose every content word is in the text.

    Empty where answers are not graded by ``"rouge_l"``; see
    `diptych.core.evaluation.text_metrics.faithful`.
    """
    if graded != "rouge_l":
        return {}
    source = results["id"].map(rows.set_index("id")["text"])
    pairs = zip(results["output"].fillna(""), source, strict=True)
    kept = pd.Series([text_metrics.faithful(*pair) for pair in pairs]).groupby(
        results["variant"].array
    )
    return {f"faithful, {name}": stats.wilson(int(k.sum()), len(k)) for name, k in kept}
