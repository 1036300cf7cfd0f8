"""Sixty sets of labels, and answers as models write them with the label that a reader takes."""

import json
import random
from collections.abc import Iterator, Sequence

SETS = (
    ("positive", "negative"), ("positive", "negative", "neutral"), ("POSITIVE", "NEGATIVE"),
    ("spam", "ham"), ("spam", "not spam"), ("yes", "no"), ("true", "false"), ("True", "False"),
    ("0", "1"), ("1", "2", "3", "4", "5"), ("-1", "0", "1"), ("A", "B", "C", "D"),
    ("A", "A*", "B", "C"), ("A+", "A", "A-", "B+", "B"), ("C", "C#", "C++"), ("5", "5*"),
    ("POS", "Pos"), ("us", "US"), ("polish", "Polish"), ("+", "-"), ("++", "+", "0", "-", "--"),
    ("World", "Sports", "Business", "Sci/Tech"), ("entailment", "neutral", "contradiction"),
    ("order_status", "refund", "cancel_order", "change_address"),
    ("order", "order status", "order cancelled"), ("account", "accounting", "accountability"),
    ("bug", "feature request", "question"), ("good", "very good", "not good"),
    ("low", "medium", "high", "very high"), ("toxic", "non-toxic"),
    ("hate", "offensive", "neither"),
    ("B-PER", "I-PER", "B-LOC", "I-LOC", "O"), ("J45.9", "J45.90", "J45.901"),
    ("10-K", "10-Q", "8-K"), ("<50K", ">=50K"), ("<=50K", ">50K"), ("0-17", "18-64", "65+"),
    ("http/1.1", "http/2", "http/3"), ("Node.js", "Next.js", "Vue"), (".csv", ".json", ".xml"),
    ("positiv", "negativ", "neutral"), ("gut", "schlecht"),
    ("St\u00f6rung", "K\u00fcndigung", "Rechnung"),
    ("tr\u00e8s bien", "bien", "mal"), ("oui", "non"), ("s\u00ed", "no"),
    ("queja", "elogio", "pregunta"),
    ("\u043f\u043e\u043b\u043e\u0436\u0438\u0442\u0435\u043b\u044c\u043d\u044b\u0439",
     "\u043e\u0442\u0440\u0438\u0446\u0430\u0442\u0435\u043b\u044c\u043d\u044b\u0439"),
    ("\u6b63\u9762", "\u8d1f\u9762", "\u4e2d\u6027"), ("\u597d", "\u975e\u5e38\u597d", "\u5dee"),
    ("\u80af\u5b9a\u7684", "\u5426\u5b9a\u7684"),
    ("\u826f\u3044", "\u60aa\u3044"), ("\uae0d\uc815", "\ubd80\uc815"),
    ("\u0625\u064a\u062c\u0627\u0628\u064a", "\u0633\u0644\u0628\u064a"),
    ("\u0938\u0915\u093e\u0930\u093e\u0924\u094d\u092e\u0915",
     "\u0928\u0915\u093e\u0930\u093e\u0924\u094d\u092e\u0915"),
    ("olumlu", "olumsuz"), ("\U0001f44d", "\U0001f44e"),
    ("\u2b50", "\u2b50\u2b50", "\u2b50\u2b50\u2b50"),
    ("\U0001f600 happy", "\U0001f622 sad"), ("\u2764\ufe0f", "\U0001f494"),
)  # fmt: skip
# {L}: the label, {O}: another one; all of these say {L}
SAYING = (
    "{L}", "{L}\n", "  {L}  ", "{L}.", "\"{L}\"", "'{L}'", "\u201c{L}\u201d", "`{L}`", "**{L}**",
    "**{L}**.",
    "_{L}_", "[{L}]", "({L})", "<answer>{L}</answer>", "<label>{L}</label>", "> {L}", "- {L}",
    "\\boxed{{{L}}}",
    "```\n{L}\n```", "Answer: {L}", "Answer: {L}.", "answer: \"{L}\"", "Label: {L}",
    "**Label:** {L}", "**Label: {L}**",
    "Label = {L}", "Category: {L}", "Class: {L}", "Output: {L}", "Final answer: {L}",
    "**Final answer:** {L}",
    "Final Answer: **{L}**", "Classification: {L}", "The answer is {L}.", "The answer is: {L}",
    "The label is {L}.",
    "The correct label is **{L}**.", "The correct label for this text is \"{L}\".",
    "The most appropriate label is {L}.",
    "The best label is {L}.", "My answer is {L}.", "So the answer is {L}.",
    "Therefore, the label is {L}.",
    "This text is {L}.", "This should be labelled \"{L}\".", "I would classify this text as {L}.",
    "I'd classify this as \"{L}\".", "I would say **{L}**.", "I choose {L}.", "I think it is {L}.",
    "Based on the text, the label is {L}.", "The text belongs to the category \"{L}\".",
    "It falls under **{L}**.", "Sure! The label is {L}.",
    "Sure, here is the classification:\n\n{L}",
    "Here is my answer:\n\n**{L}**", "### Answer\n{L}", "## Label\n\n{L}\n",
    "Thank you for the text.\n\nLabel: {L}",
    "{L}\n\nThe text shows this clearly.", "{L}\n\nExplanation: the words of the writer show it.",
    "{L}. The writer says so in the last sentence.",
    "**{L}**\n\nReasoning: several words point there.",
    "Let me read the text first.\n\nThe writer describes what happened.\n\n**Label: {L}**",
    "Step 1: read the text.\nStep 2: weigh it.\nAnswer: {L}",
    "{L}, not {O}.", "{L} rather than {O}.", "The label is {L}, not {O}.", "It is {L} and not {O}.",
    "Not {O}. The answer is {L}.", "The answer is {L} instead of {O}.",
    "At first it looks like {O}, but the answer is {L}.", "One could think of {O}.\n\nLabel: {L}",
    "It may sound like {O} at first.\n\n**{L}**", "Some words suggest {O}.\nFinal answer: {L}",
    "{L}\n\nAlthough some words sound like {O}, the whole does not.",
    "<think>\nIs it {O}? Hmm. Some words say so.\n</think>\n\n{L}",
    "<think>{O} or {L}? I take {L}.</think>Answer: {L}", "I wonder: {O}?</think>\n{L}",
    "<thinking>First {O}.</thinking>\n**{L}**", "<reasoning>{O}</reasoning><answer>{L}</answer>",
    "Die Antwort ist {L}.", "Antwort: {L}", "Ich w\u00fcrde den Text als \"{L}\" einstufen.",
    "La r\u00e9ponse est {L}.",
    "R\u00e9ponse : {L}", "La respuesta es {L}.", "Respuesta: {L}",
    "La etiqueta correcta es **{L}**.", "La risposta \u00e8 {L}.",
    "A resposta \u00e9 {L}.", "\u7b54\u6848\u662f\u201c{L}\u201d\u3002", "\u7b54\u6848\uff1a{L}",
    "\u30e9\u30d9\u30eb\u306f\u300c{L}\u300d\u3067\u3059\u3002", "\uc815\ub2f5: {L}",
    "\u041e\u0442\u0432\u0435\u0442: {L}", "Cevap: {L}",
    "Verdict: {L}", "I'd go with {L} here.", "Prediction \u2192 {L}",
    "**Sentiment:** {L}\n\n**Why:** the tone of the text.", "Given the tone, {L}.",
    "The overall label would be {L}.", "{L} (high confidence)", "{L} (90%)",
    "My classification is {L}.", "Result: `{L}`", "The text can be classified as {L}.",
    "It clearly expresses {L}.", "I believe the right label is {L} since the writer says so.",
    "Label \u2192 {L}", "{L} \u2705", "\u2705 {L}", "Okay. {L}", "Yes, the label is {L}.",
    "Final: {L}", "\"{L}\" is the best fit.", "{L} is the correct answer.",
    "{L} would be the right label, since {O} is too strong.", "Not {O}, but {L}.",
    "Between {L} and {O}, I pick {L}.", "Although {O} is tempting, I pick {L}.",
    "Considering all, {L} fits best.", "{L}: the writer makes that plain.",
    "| label |\n|---|\n| {L} |", "<output>{L}</output>", "Label: {L}<|im_end|>", "{L}</s>",
    "assistant: {L}", "Das Label ist \"{L}\", nicht \"{O}\".",
    "La r\u00e9ponse correcte est {L}, pas {O}.", "\u6807\u7b7e\uff1a{L}",
    "\u5206\u7c7b\u7ed3\u679c\u4e3a\u201c{L}\u201d\uff0c\u800c\u4e0d\u662f\u201c{O}\u201d\u3002",
    "***{L}***", "Answer:\n\n{L}\n", "~{L}~", "The tag that I'd assign: {L}", "1) {L}",
    "LABEL: {L}", "So it is {L}, isn't it?",
)  # fmt: skip
# the same in JSON, made by a JSON library so that quotes are escaped
OBJECTS = (
    lambda label, other: {"label": label},
    lambda label, other: {"answer": label},
    lambda label, other: {"sentiment": label, "confidence": 0.9},
    lambda label, other: {"reason": f"It is not {other}.", "label": label},
    lambda label, other: {"label": label, "reason": f"Not {other}"},
    lambda label, other: {"category": label, "score": 3},
    lambda label, other: {"reasoning": f"{other} at first", "prediction": label},
    lambda label, other: [label],
    lambda label, other: {"labels": [label]},
    lambda label, other: {"result": {"label": label}},
)
AROUND = ("{}", "```json\n{}\n```", "Here is the JSON:\n{}", "```\n{}\n```\nI hope this helps.")
# none of these says one label
SILENT = (
    "", " ", "\n", "...", "?", "{L} or {O}", "{L} or {O}?", "{L}/{O}", "Either {L} or {O}.",
    "It could be {L} or {O}.", "Both {L} and {O} fit.", "neither {L} nor {O}", "Answer: {L} or {O}",
    "The text holds no hint.", "Please give me the text.", "Hello, how can I help you today?",
    "<think>\nI take {L}, for it", "<think>Answer: {L}", "<think>\n{L}", "{{\"label\": null}}",
    "{{}}", "[]",
    "I could see either {L} or {O}.", "I am not able to choose a label.",
    "Is it {L} or is it {O}?", "{L} vs {O}", "{L} and {O}", "As an AI I can't judge this.",
    "Labels: {L}, {O}",
    "The text may be read in several ways, so nothing can be said.",
)  # fmt: skip


def answers(labels: Sequence[str], n: int, seed: int = 0) -> Iterator[tuple[str, str | None]]:
    """Yield `n` answers with the label that each says, None where it says none."""
    rng = random.Random(f"{seed} {labels}")
    for _ in range(n):
        label = rng.choice(labels)
        other = rng.choice([name for name in labels if name != label])
        part = rng.random()
        if part < 0.75:
            text, said = rng.choice(SAYING).format(L=label, O=other), label
        elif part < 0.9:
            content = json.dumps(rng.choice(OBJECTS)(label, other), ensure_ascii=rng.random() < 0.3)
            text, said = rng.choice(AROUND).format(content), label
        else:
            text, said = rng.choice(SILENT).format(L=label, O=other), None
        if rng.random() < 0.1 and said:
            text += "\n"
        yield text, said
