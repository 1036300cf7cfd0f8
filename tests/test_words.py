"""Text that a user reads uses the field's terms, and no variable has a name without meaning."""

import ast
import io
import json
import re
import tokenize
from pathlib import Path

import diptych

PACKAGE = Path(diptych.__file__).parent
ROOT = PACKAGE.parents[1]
INSTEAD = {  # former phrase: the term
    r"valid rows?": "validation set",
    r"go(?:es|ing)? on": "is selected, resumes or continues",
    r"(?:made|rows) harder|spoilt|loss under \w+": "perturbed; accuracy drop under typos",
    r"asked? again|asking again": "repeated; answer instability",
    r"(?:left|right|other) panel(?:'s)?": "MLOps or LLMOps",
    r"first word": "time to first token (TTFT)",
    r"half of the requests|9[59] of 100": "p50, p95, p99",
    r"(?:written|wrote|made) by hand": "hand-written test set",
    r"(?:labels )?until the goal": "labels needed to reach X",
    r"too few rows(?! to)": "inconclusive",
}
PHRASES = {
    re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE): term for phrase, term in INSTEAD.items()
}
DATA = (  # texts that models read, not users
    "lib/diptych/assets/lexicon/",
    "lib/diptych/assets/behaviour/",
    "lib/diptych/assets/prompts/",
    "lib/diptych/assets/grounding/examples.yaml",
    "params/prompts/",
)
TEXTS = ("*.md", "*.yaml", "*.yml", "*.j2", "*.html", "Makefile")
VAGUE = {"found", "said", "told", "made", "own", "asked", "kept", "given"}
MOST_VAGUE = 20  # in the package and the notebooks


def text_files() -> list[Path]:
    folders = [PACKAGE, ROOT / "params"]
    paths = [path for folder in folders for kind in TEXTS for path in folder.rglob(kind)]
    paths += [path for kind in TEXTS for path in ROOT.glob(kind)]
    return [path for path in paths if not shown(path).startswith(DATA)]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def strings(tree: ast.Module) -> list[str]:
    """Return docstrings, messages and other strings of a module."""
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def comments(code: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def notebooks():
    """Yield path, prose and code of every notebook."""
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        sources = {"markdown": [], "code": []}
        for cell in cells:
            sources[cell["cell_type"]].append("".join(cell["source"]))
        yield path, "\n\n".join(sources["markdown"]), "\n".join(sources["code"])


def what_users_read():
    """Yield path and text: prose, pages, help, docstrings and messages."""
    for path in text_files():
        yield path, path.read_text("utf-8")
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in strings(ast.parse(path.read_text("utf-8"))):
            yield path, text
    for path, prose, code in notebooks():
        yield path, prose
        for text in strings(ast.parse(code)) + comments(code):  # a parameter's comment is its help
            yield path, text


def outdated(text: str) -> list[str]:
    """Return the former phrases in a text, wherever its lines break, with the terms."""
    flat = " ".join(text.split())
    return [
        f"{match[0]!r} -> {term}"
        for phrase, term in PHRASES.items()
        for match in phrase.finditer(flat)
    ]


def vague(tree: ast.Module) -> list[str]:
    """Return the variables and parameters without a meaningful name."""
    names = [
        node.arg if isinstance(node, ast.arg) else node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    ]
    return [name for name in names if name in VAGUE]


def test_what_a_user_reads_is_in_the_terms_of_the_field():
    hits = {f"{shown(path)}: {hit}" for path, text in what_users_read() for hit in outdated(text)}
    assert not hits, "\n".join(sorted(hits))


def test_a_phrase_is_seen_across_lines_and_in_capitals():
    assert outdated("Asked\n    again, of the LEFT panel")[:2] == [
        "'Asked again' -> repeated; answer instability",
        "'LEFT panel' -> MLOps or LLMOps",
    ]
    assert outdated("Rows that are not valid. The first token, on the validation set.") == []


def test_variables_are_named_for_what_they_are():
    trees = {path: ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    trees |= {path: ast.parse(code) for path, _, code in notebooks()}
    hits = sorted(f"{shown(path)}: {name}" for path, tree in trees.items() for name in vague(tree))
    assert len(hits) <= MOST_VAGUE, "\n".join(hits)
