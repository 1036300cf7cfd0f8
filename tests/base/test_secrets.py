import json
import os
import random
from html import escape
from urllib.parse import quote

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diptych.base import secrets
from diptych.base.secrets import Redactor, looks_secret, secret_values

BODY = "Ab3dEf6hIj9kLm2n"
TOKENS = [
    f"sk-{BODY}{BODY}",
    f"sk-proj-{BODY}_{BODY}-x",
    "sk-" + "0123456789abcdef" * 2,
    f"ghp_{BODY}{BODY}",
    f"github_pat_{BODY}{BODY}",
    f"hf_{BODY}{BODY}",
    "AKIA" + "ABCDEFGH23456789",
    f"AIza{BODY}{BODY}",
    "xoxb-1234567890-abcdef",
    f"eyJ{BODY}.eyJ{BODY}.{BODY}",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
]
HARMLESS = [
    "reviews",
    "OPENAI_API_KEY",
    "20261124-001337-mlops-2_build-reviews-3f9a",
    "/home/someone/data/train-00000-of-00001-a09b74b3ef9c3b56.parquet",
    "data/uci_sentiment_labelled_sentences.csv",
    "https://example.org/raw/0123456789abcdef0123456789abcdef01234567/reviews.csv",
    "Classify the review as positive or negative, and answer with one word only.",
    "123e4567-e89b-12d3-a456-426614174000",
    "12345678901234567890123456789012",
    "ThisIsAVeryLongCamelCaseNameWithoutAnyDigit",
]


@pytest.mark.parametrize("token", TOKENS)
def test_known_tokens_are_secret_and_redacted(token):
    assert looks_secret("note", token, {})
    text = Redactor({}).text(f"before \x1b[33m{token}\x1b[0m after")
    assert text == "before \x1b[33m[redacted]\x1b[0m after"


@pytest.mark.parametrize("value", HARMLESS)
def test_harmless_values_are_neither(value):
    assert not looks_secret("task", value, {})
    assert Redactor({}).text(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "https://someone:hunter22@example.org/x.csv",
        f"https://example.org/x.csv?sig={BODY}{BODY}",
        "0123456789abcdef" * 2,
        BODY + BODY,
        ["fine", f"hf_{BODY}{BODY}"],
    ],
)
def test_other_secret_looking_values(value):
    assert looks_secret("task", value, {})


def test_scikit_learn_html_is_left_alone():
    html = '<a class="sk-toggleable__content sk-estimator-doc-link" id="sk-container-id-1">'
    assert Redactor({}).text(html) == html


@pytest.mark.parametrize("name", ["api_key", "key", "apikey", "auth_token", "PASSWORD", "secret"])
def test_a_parameter_named_like_a_key_may_only_name_a_variable(name):
    assert looks_secret(name, "hunter2", {})
    assert not looks_secret(name, "OPENAI_API_KEY", {})
    assert not looks_secret(name, "", {})
    assert not looks_secret(name, 512, {})


@pytest.mark.parametrize("name", ["monkey", "max_tokens", "keyword"])
def test_other_names_are_not_keys(name):
    assert not looks_secret(name, "hunter2", {})


def test_which_variables_hold_secrets(tmp_path):
    environment = {
        "OPENAI_API_KEY": "correct horse",
        "my_token": "battery staple",
        "TOKENIZERS_PARALLELISM": "false",
        "SSH_KEY_FILE": str(tmp_path),
        "HOME": "/home/someone",
    }
    assert set(secret_values(environment)) == {"correct horse", "battery staple"}


def test_a_parameter_may_not_hold_the_value_of_such_a_variable():
    assert looks_secret("note", "say correct horse", {"MY_SECRET": "correct horse"})


@given(st.text(min_size=8, alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_no_spelling_of_a_value_remains(value):
    assume(not os.path.exists(value))  # the path of a file is no secret
    redactor = Redactor({"A_KEY": value})
    for spelled in (value, escape(value), json.dumps(value), repr(value), quote(value, safe="")):
        inner = spelled[1:-1] if spelled[0] == spelled[-1] and spelled[0] in "\"'" else spelled
        assert redactor.text(f"<{inner}>") == "<[redacted A_KEY]>"


def test_the_longer_of_two_secrets_goes_first():
    redactor = Redactor({"SHORT_KEY": "abcdefgh", "LONG_KEY": "abcdefghijkl"})
    assert redactor.text("abcdefghijkl abcdefgh") == "[redacted LONG_KEY] [redacted SHORT_KEY]"


def test_a_notebook_keeps_its_images_and_its_type():
    secret = "abcdefgh1234"
    data = {"text/html": f"<b>{secret}</b>", "image/png": secret, "image/svg+xml": secret}
    redacted = Redactor({"A_KEY": secret}).tree({"outputs": [{"data": data}], "n": 1})
    assert redacted["outputs"][0]["data"] == {
        "text/html": "<b>[redacted A_KEY]</b>",
        "image/png": secret,
        "image/svg+xml": "[redacted A_KEY]",
    }


def test_keys_of_json_are_redacted_too():
    redacted = Redactor({"A_KEY": "abcdefgh1234"}).tree({"abcdefgh1234": {f"hf_{BODY}{BODY}": 1}})
    assert redacted == {"[redacted A_KEY]": {"[redacted]": 1}}


@pytest.mark.parametrize("name", ["PGPASSWORD", "X_CREDENTIALS", "BASIC_AUTH", "MY_PASSPHRASE"])
def test_variables_named_like_secrets_are(name):
    assert Redactor({name: "correct horse"}).text("a correct horse") == f"a [redacted {name}]"


@pytest.mark.parametrize("name", ["GIT_AUTHOR_NAME", "PWD", "XAUTHORITY", "HOME"])
def test_variables_of_other_names_are_not(name):
    assert secret_values({name: "correct horse"}) == {}


def test_the_password_in_a_variables_url_is_secret():
    environment = {"DATABASE": "postgresql://ann:correct%20horse@db/shop"}
    assert Redactor(environment).text("correct horse") == "[redacted DATABASE]"


def test_a_variable_that_holds_a_key_by_another_name(monkeypatch):
    monkeypatch.setattr(secrets, "_NAMED", set())
    assert secret_values({"MYCRED": "correct horse"}) == {}
    secrets.keep_secret("MYCRED")
    assert secret_values({"MYCRED": "correct horse"}) == {"correct horse": "MYCRED"}


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.csv", "notes", "x.bin", "model.pkl", "b.ini", "c.tex"])
def test_a_file_of_any_name_and_coding_is_redacted(tmp_path, name, coding):
    text = f"first abcdefgh1234, then hf_{BODY}{BODY}, and the rest of it ü\n"
    (tmp_path / name).write_bytes(text.encode(coding))
    Redactor({"A_KEY": "abcdefgh1234"}).folder(tmp_path)
    clean = (tmp_path / name).read_bytes().decode(coding)
    assert clean == "first [redacted A_KEY], then [redacted], and the rest of it ü\n"


def test_a_table_stays_readable(tmp_path):
    frame = pd.DataFrame({"text": ["abcdefgh1234", f"hf_{BODY}{BODY}", "fine"], "n": [1, 2, 3]})
    frame.to_parquet(tmp_path / "t.parquet", compression=None)
    Redactor({"A_KEY": "abcdefgh1234"}).folder(tmp_path)
    clean = pd.read_parquet(tmp_path / "t.parquet")
    assert clean["text"].tolist() == ["*" * 12, "*" * len(f"hf_{BODY}{BODY}"), "fine"]
    assert clean["n"].tolist() == [1, 2, 3]


def test_a_key_after_its_length_in_a_binary_file_is_masked():
    key = f"hf_{BODY}{BODY}".encode()
    assert Redactor({}).bytes(b"\0\xff" + b"A" + key) == b"\0\xffA" + b"*" * len(key)


def test_random_bytes_stay_as_they_are():
    data = random.Random(1).randbytes(2**22)
    assert Redactor({"A_KEY": "abcdefgh1234"}).bytes(data) == data


def test_names_of_files_and_folders_are_redacted(tmp_path):
    (tmp_path / "of abcdefgh1234").mkdir()
    (tmp_path / "of abcdefgh1234" / f"hf_{BODY}{BODY}.txt").write_text("fine")
    (tmp_path / "abcdefgh1234").write_text("1")
    (tmp_path / "[redacted A_KEY]").write_text("2")
    Redactor({"A_KEY": "abcdefgh1234"}).folder(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {
        "of [redacted A_KEY]", "of [redacted A_KEY]/[redacted].txt", "[redacted A_KEY]",
        "[redacted A_KEY]-2",
    }  # fmt: skip


def test_text_files_of_a_folder_are_redacted(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.md").write_bytes(b"\xff abcdefgh1234")
    (tmp_path / "b.json").write_text('{"fine": 1}')
    Redactor({"A_KEY": "abcdefgh1234"}).folder(tmp_path)
    assert (tmp_path / "deep" / "a.md").read_bytes() == b"\xff [redacted A_KEY]"
    assert (tmp_path / "b.json").read_text() == '{"fine": 1}'


def test_json_stays_json_where_a_password_stands_in_a_number(tmp_path):
    content = {"score": 0.1874659123, "text": "it is 74659123"}
    (tmp_path / "result.json").write_text(json.dumps(content))
    redactor = Redactor({"THE_PASSWORD": "74659123"})
    redactor.folder(tmp_path)
    clean = content | {"text": "it is [redacted THE_PASSWORD]"}
    assert json.loads((tmp_path / "result.json").read_text()) == clean
    assert json.loads(redactor.json(content)) == clean
