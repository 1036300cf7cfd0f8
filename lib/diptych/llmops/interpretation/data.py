"""What the outputs of ``llmops/1_data`` show."""

from collections.abc import Sequence

import pandas as pd

from diptych.llmops.interpretation.words import count, is_known, listed, on_unexplained
from diptych.llmops.prompts.prompt import Prompt

BYTES = 4  # of a token, as forecasts assume


def of_rows(data: pd.DataFrame, labels: Sequence[str], prompts: Sequence[Prompt]) -> list[str]:
    """Say how many rows there are in which split, and what the prompts may answer."""
    sizes = data["split"].value_counts()
    train = int(sizes.get("train", 0))
    names = listed((prompt.name for prompt in prompts), 6)
    return [
        f"{count(len(data), 'row')} with {listed(labels, 6) if labels else 'numbers'} as labels; "
        f"{train:,} of them may be shown as examples, the others only measure.",
        f"{count(len(prompts), 'prompt')} will be compared: {names}.",
        "What to do: leave a prompt out by the parameter prompts; each costs its calls.",
        *on_unexplained(prompts),
    ]


def of_pool(pool: Sequence, valid: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Say how many examples may be shown, and which rows select and measure."""
    shown = pd.Series([str(answer) for _, answer in pool], dtype=object).value_counts()
    each = ", ".join(f"{n} x {answer[:20]}" for answer, n in shown.head(4).items())
    return [
        f"{count(len(pool), 'example')} may be shown ({each or 'none'}); "
        f"{count(len(valid), 'row')} select and {count(len(test), 'row')} measure.",
        "What to do: read them. A wrong label in an example is repeated in every question.",
    ]


def of_tokens(text: str, tokens: int, counted: int) -> list[str]:
    """Say how far words, bytes and tokens are apart, and that the helper counts the same."""
    size, words = len(text.encode()), len(text.split())
    lines = [f"{count(words, 'word')} are {count(tokens, 'token')}, {size / max(tokens, 1):.1f} "
             f"bytes each; forecasts assume {BYTES}."]  # fmt: skip
    if tokens != counted:
        lines.append(f"The helper counts {counted}: another list was counted than the one shown.")
    if size / max(tokens, 1) < BYTES:
        lines.append("So this model reads more tokens than a forecast says. What to do: count "
                     "before you promise a price.")  # fmt: skip
    else:
        lines.append("So a forecast is on the safe side. What to do: count where it is close.")
    return lines


def of_inventory(inventory: pd.DataFrame) -> list[str]:
    """Say which prompt is dearest to ask, and by how much."""
    order = inventory.sort_values("tokens")
    short, long = order.iloc[0], order.iloc[-1]
    if short["prompt"] == long["prompt"]:
        return [f"{short['prompt']} takes {short['tokens']} tokens with the first test row."]
    return [
        f"{long['prompt']} takes {long['tokens']} tokens with the first test row, "
        f"{short['prompt']} {short['tokens']}: {long['tokens'] / short['tokens']:.1f} times the "
        "price of reading.",
        "What to do: keep the longer one only if 2_build shows that it is better.",
    ]


def of_leaks(leaked: int, rows: int) -> list[str]:
    """Say how many evaluation rows repeat an example, and what that would do."""
    if leaked:
        return [f"{leaked} of {count(rows, 'evaluation row')} repeat an example: their answer is "
                "in the prompt, and the figures of prompts with examples are too good.",
                "What to do: take another seed, or leave rows out that repeat."]  # fmt: skip
    return [f"None of {count(rows, 'evaluation row')} repeats an example, word for word or nearly.",
            "What a model has seen in its own training is not known here: a public test set may "
            "be in it. What to do: keep some rows of your own unpublished."]  # fmt: skip


def of_bill(bill: pd.DataFrame, limit: float | None) -> list[str]:
    """Say what the evaluation costs at most, of which model, and what fits into the limit."""
    priced = bill.dropna(subset="usd")
    calls = bill["calls"].iloc[0]
    lines = [f"{bill['model'].iloc[0]} takes at most {count(calls, 'call')}."]
    paid = priced[priced["usd"] > 0]
    if paid.empty:
        return [*lines, "No model named here has a price above 0. What to do: run 2_build."]
    dear = paid.loc[paid["usd"].idxmax()]
    over = paid.loc[paid["usd"] > limit, "model"] if is_known(limit) else paid["model"].head(0)
    lines.append(f"{dear['model']} would cost about {dear['usd, about']:.2f} USD, at most "
                 f"{dear['usd']:.2f}.")  # fmt: skip
    if len(over):
        return [*lines, f"Over the limit of {limit:g} USD: {listed(over)}. What to do: fewer rows "
                        "or prompts, or a higher max_usd; it stops before it exceeds."]  # fmt: skip
    return [*lines, "All of them fit into the limit. What to do: run 2_build with any of them."]


def of_record(bill: pd.DataFrame, inventory: pd.DataFrame) -> list[str]:
    """Say what later stages rely on."""
    return [
        f"2_build will ask {count(len(inventory), 'prompt')} in at most "
        f"{count(bill['calls'].iloc[0] + bill['cached'].iloc[0], 'call')}, of which the ledger "
        f"has {bill['cached'].iloc[0]:,}.",
        "What to do: change a prompt's file and run this again; its version changes with it.",
    ]
