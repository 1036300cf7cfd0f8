"""Prompt files: what is read is what was written, and what is wrong is named."""

import re
from dataclasses import replace

import pytest
from base.test_secret_shapes import KEYS
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.base import workspace
from diptych.core.data import tasks
from diptych.llmops.evaluation import scorers
from diptych.llmops.prompts import prompt as prompts
from diptych.llmops.prompts.prompt import Prompt, PromptError, parse, to_text

GOOD = """---
task: reviews
inputs: [text]
output:
  type: string
  enum: [negative, positive]
parent: plain
note: Why it is there.
---
## system
You label reviews.

### Not a section
## user
Which label?
{text} {"json": 1}

## example
text: 'yes'
answer: positive

## example
text: "two\\nlines: {text}"
answer: negative
"""


def test_a_file_is_read_as_it_stands():
    prompt = parse(GOOD, "x/hard.md")
    assert (prompt.name, prompt.task, prompt.inputs) == ("hard", "reviews", ("text",))
    assert prompt.system == "You label reviews.\n\n### Not a section"
    assert prompt.user == 'Which label?\n{text} {"json": 1}'
    first, second = prompt.examples
    assert first == ({"text": "yes"}, "positive")
    assert second == ({"text": "two\nlines: {text}"}, "negative")
    assert prompt.labels == ("negative", "positive")
    assert (prompt.parent, prompt.note) == ("plain", "Why it is there.")


def test_messages_are_system_examples_shots_and_the_row():
    prompt = parse(GOOD)
    made = prompt.messages({"text": "{text} & <b>", "label": "x"}, [({"text": "shot"}, "negative")])
    roles = [message["role"] for message in made]
    assert roles == ["system", *["user", "assistant"] * 3, "user"]
    assert made[-1]["content"] == 'Which label?\n{text} & <b> {"json": 1}'
    assert made[5]["content"].startswith("Which label?\nshot")
    assert made[6]["content"] == "negative"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("parent:", "parnet:", "parnet: is no field of a prompt. Did you mean parent?"),
        ("## user", "## usre", "## usre: is no section. Did you mean user?"),
        ("## user", "### user", "## user: is missing"),
        ("## system", "## user", "## user: is there twice"),
        ("{text} {", "{tetx} {", "{tetx}: is not among the inputs. Did you mean text?"),
        ("{text} {", "{", "inputs: {text} is not in ## user"),
        ("You label", "You label {text}", "{text}: an input belongs in ## user"),
        ("{text} {", "{text} {labels} {", "{labels}: is not among the inputs"),
        ("inputs: [text]", "inputs: text", "inputs: is no list of names"),
        ("task: reviews\n", "", "task: is missing"),
        ("task: reviews", "task: [", "front matter:"),
        ("enum: [negative, positive]", "enum: [no, yes]", 'quote labels such as "yes"'),
        ("text: 'yes'\n", "", "## example: needs text, answer, and nothing else"),
        ("text: 'yes'", "text: [a]", "## example: holds a value that is no text"),
        ("text: 'yes'", "text: a: b", "## example:"),
        ("---\n## system", "---\nHello\n## system", "'Hello' stands before the first section"),
        ("---\ntask", "task", "has no front matter"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(old, new, told):
    assert old in GOOD
    with pytest.raises(PromptError, match=re.escape(told)) as found:
        parse(GOOD.replace(old, new, 1), "some/where.md")
    assert "where.md: " in str(found.value)


def test_a_row_that_lacks_an_input_is_named():
    with pytest.raises(PromptError, match="hard: a row lacks text; it has title, label"):
        parse(GOOD, "hard.md").messages({"title": "x", "label": "y"})


def test_the_version_is_of_what_the_model_meets():
    first = parse(GOOD)
    assert re.fullmatch("[0-9a-f]{12}", first.version)
    for same in ("note: Why", "parent: plain", "task: reviews"):
        assert parse(GOOD.replace(same, same + "er")).version == first.version
    for other in ("You label", "Which label?", "positive", "'yes'"):
        assert parse(GOOD.replace(other, other.upper())).version != first.version


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(system=text, user=text, examples=st.lists(st.tuples(text, text), max_size=2), note=text)
def test_what_is_written_is_read_again_or_refused(tmp_path_factory, system, user, examples, note):
    path = tmp_path_factory.getbasetemp() / "written.md"
    made = tuple(({"text": shown}, answer) for shown, answer in examples)
    prompt = Prompt("written", "reviews", ("text",), system, user + "{text}", made, note=note)
    try:
        prompts.write(prompt, path)
    except PromptError:
        return
    again = parse(path.read_text("utf-8"), path)
    assert again.messages({"text": "x"}) == prompt.messages({"text": "x"})
    assert again.version == prompt.version


def test_plain_texts_can_be_written(tmp_path):
    prompt = parse(GOOD, tmp_path / "hard.md")
    assert prompts.write(prompt) == tmp_path / "hard.md"
    assert parse((tmp_path / "hard.md").read_text(), tmp_path / "hard.md") == prompt
    broken = parse(GOOD.replace("Which", "which"), "x.md")
    with pytest.raises(PromptError, match="cannot be written"):
        prompts.write(Prompt("x", "t", ("text",), "", "## user\n{text}"), tmp_path / "x.md")
    assert not (tmp_path / "x.md").exists()
    assert prompts.difference(prompt, prompt) == ""
    changed = prompts.difference(prompt, broken).splitlines()
    assert [line for line in changed if line[0] in "+-"][2:] == ["-Which label?", "+which label?"]


def every_file():
    return sorted((workspace.repo_root() / "params" / "prompts").rglob("*.md"))


@pytest.mark.parametrize("path", every_file(), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_prompts_of_this_repository_are_sound(path):
    place = path.relative_to(workspace.repo_root() / "params" / "prompts")
    folder = place.parts[0]
    numbers = prompts.Numbers("price", 1.0, 2.0, 3.0) if folder == "number" else None
    prompt = prompts.read_prompt(folder, str(path), ("no", "yes"), numbers)
    assert prompt.note.endswith(".")
    assert set(prompt.labels) == ({"no", "yes"} if prompt.task == "any" else set(prompt.labels))
    assert not numbers or "price" in prompt.messages({"text": "x"})[-1]["content"]
    if prompt.task not in ("any", "number"):
        scorers.check_prompt(prompt, tasks.get(prompt.task).grader)
    siblings = {file.stem for file in path.parent.glob("*.md")}
    assert prompt.parent in siblings | {""}
    known = prompts.every(folder, ("no", "yes"), numbers)
    if len(place.parts) > 2:  # for instruction models: asked for by name
        named = "/".join(place.with_suffix("").parts[1:])
        known = [prompts.read_prompt(folder, named, ("no", "yes"), numbers)]
    assert [p.version for p in known].count(prompt.version) == 1


def test_a_task_without_prompts_takes_the_generic_ones_with_its_labels():
    made = {prompt.name: prompt for prompt in prompts.every("my-rows-1a2b", ["cat", "dog", "hen"])}
    assert set(made) == {path.stem for path in prompts.folder("any").glob("*.md")}
    plain = made["plain"]
    assert plain.messages({"text": "Moo."})[-1]["content"] == (
        "Classify this text as cat, dog or hen.\nMoo."
    )
    assert (plain.task, plain.labels) == ("my-rows-1a2b", ("cat", "dog", "hen"))
    shot = made["json"].messages({"text": "b"}, [({"text": "a"}, "dog")])[1]
    assert shot == {"role": "assistant", "content": '{"label": "dog"}'}
    assert made["json"].labels == ("cat", "dog", "hen")
    assert plain.version != prompts.every("other", ["cat", "dog"])[-1].version
    with pytest.raises(PromptError, match="needs the labels of other"):
        prompts.every("other")


def test_a_prompt_that_is_not_there_is_named():
    with pytest.raises(PromptError, match=r"reviews has no 'plian'\. Did you mean plain\?"):
        prompts.read_prompt("reviews", "plian")
    with pytest.raises(PromptError, match=r"none\.md: cannot be read"):
        prompts.read_prompt("reviews", "none.md")


def test_a_file_of_another_task_is_refused(tmp_path):
    (tmp_path / "x.md").write_text(GOOD)
    with pytest.raises(PromptError, match="task: is reviews, and films is asked"):
        prompts.read_prompt("films", str(tmp_path / "x.md"), ["a", "b"])


ASKED = "a card\nprice: 3\nwhat is it?"
DIALOGUE = "Customer: hi\nAgent: Hello!\nCustomer: a card\nprice: 3\nwhat is it?"


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ("all", [("user", "hi"), ("assistant", "Hello!"), ("user", ASKED)]),
        ("last", [("user", ASKED)]),
        ("", [("user", DIALOGUE)]),
    ],
)  # fmt: skip
def test_a_dialogue_is_told_turn_by_turn(turns, said):
    front = f"task: support\ninputs: [text]\ngraded: contains\nturns: '{turns}'"
    prompt = prompts.parse(f"---\n{front}\n---\n## user\n{{text}}\n", "p.md")
    found = prompt.messages({"text": DIALOGUE})
    assert [(m["role"], m["content"]) for m in found] == said
    assert prompts.parse(prompts.to_text(prompt), "p.md") == prompt
    assert [m["content"] for m in prompt.messages({"text": "no turns"})] == ["no turns"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("graded: rouge", "graded: 'rouge' is no grader"),
        ("turns: some", "turns: 'some'; there are all, last"),
    ],
)
def test_a_wrong_grading_or_turns_is_refused(line, told):
    with pytest.raises(PromptError, match=told):
        prompts.parse(f"---\ntask: x\ninputs: [text]\n{line}\n---\n## user\n{{text}}\n", "p.md")


REQUEST = "max_tokens: 40\nreasoning_effort: low\nthinking: 0\nextra: {seed: 7, verbosity: low}"


def test_a_prompts_front_matter_holds_fields_of_its_requests():
    text = f"---\ntask: x\ninputs: [text]\n{REQUEST}\n---\n## user\n{{text}}\n"
    prompt = prompts.parse(text, "p.md")
    fields = {"max_tokens": 40, "reasoning_effort": "low", "thinking": 0}
    assert prompt.request == {**fields, "seed": 7, "verbosity": "low"}
    assert prompts.parse(prompts.to_text(prompt), "p.md") == prompt
    without = prompts.parse(text.replace(REQUEST, "note: n"), "p.md")
    assert without.version != prompt.version


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("max_tokens: 0", "max_tokens: 0; give a whole number"),
        ("extra: [seed]", "extra: is no mapping"),
        ("extra: {model: gpt-5}", "extra: model has a place of its own"),
        ("reasoning_effort: 3", "reasoning_effort: 3; give a word"),
    ],
)
def test_a_wrong_field_of_requests_is_refused(line, message):
    with pytest.raises(PromptError, match=message):
        prompts.parse(f"---\ntask: x\ninputs: [text]\n{line}\n---\n## user\n{{text}}\n", "p.md")


def test_prompts_for_instruction_models_are_taken_by_name_only():
    labels = ["negative", "positive"]
    short = prompts.read_prompt("reviews", "instruct/label_only", labels)
    assert short.user.index("{text}") < short.user.index("positive or negative")
    assert short.version not in {prompt.version for prompt in prompts.every("reviews", labels)}
    generic = prompts.read_prompt("of_mine", "instruct/label_only", ["a", "b", "c"])
    assert "a, b or c" in generic.user
    assert generic.labels == ("a", "b", "c")


SEE = """---
task: any
inputs: [image, text]
images: [image]
output: {type: string}
---
## system
Look.

## user
Is {image} one of {labels}? {text}
"""


def test_a_picture_is_a_part_of_the_message(tmp_path):
    prompt = parse(SEE, tmp_path / "see.md")
    url = "data:image/png;base64,AAAA"
    row = {"image": url, "text": "{image} in braces"}
    system, question = replace(prompt, user=prompt.user.replace("{labels}", "a, b")).messages(row)
    assert system == {"role": "system", "content": "Look."}
    assert question["content"] == [
        {"type": "text", "text": "Is "},
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": " one of a, b? {image} in braces"},
    ]
    assert parse(to_text(prompt), tmp_path / "see.md").version == prompt.version
    assert parse(SEE.replace("images: [image]\n", ""), "x.md").version != prompt.version
    with pytest.raises(PromptError, match=r"images: .*is no picture"):
        prompt.messages(row | {"image": "no picture"})
    with pytest.raises(PromptError, match=r"images: \['photo'\]; give those of the inputs"):
        parse(SEE.replace("images: [image]", "images: [photo]"), "x.md")


@pytest.mark.parametrize("where", ["You label", "Which label?", "two\\nlines", "Why it is there."])
def test_a_prompt_with_a_key_is_refused(where):
    """It would be sent, and be stored with every call, run and release."""
    for key in (KEYS["OpenAI"], KEYS["OpenRouter"], "https://me:hunter22@host"):
        with pytest.raises(PromptError, match="looks like a key") as error:
            parse(GOOD.replace(where, f"{where} {key}"), "x/hard.md")
        assert key not in str(error.value)


def test_a_prompt_with_a_secret_of_the_environment_is_refused(monkeypatch):
    parse(GOOD, "x/hard.md")
    monkeypatch.setenv("THE_SECRET", "Why it is there.")
    with pytest.raises(PromptError, match="looks like a key"):
        parse(GOOD, "x/hard.md")
