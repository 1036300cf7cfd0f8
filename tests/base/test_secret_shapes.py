"""Every shape of a key is seen wherever it stands, code and prose are not; the work is linear."""

import json
import re
from html import escape
from urllib.parse import quote

import pytest

from diptych.base import secret_shapes
from diptych.base.secret_shapes import CONTEXTS, SHAPES, candidates, spans

A = "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"
HEX = "0123456789abcdef"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
KEYS = {
    "OpenAI": f"sk-{A}", "OpenAI project": f"sk-proj-{A}_{A}-x", "OpenAI old": f"sk-{HEX * 2}",
    "OpenAI service": f"sk-svcacct-{A}", "Anthropic": f"sk-ant-api03-{A}-{A}_{A}",
    "OpenRouter": f"sk-or-v1-{HEX * 4}", "Langfuse": f"sk-lf-{UUID}",
    "Langfuse public": f"pk-lf-{UUID}", "Groq": f"gsk_{A}{A}", "xAI": f"xai-{A}{A}",
    "Replicate": f"r8_{A}", "Perplexity": f"pplx-{HEX * 3}", "Hugging Face": f"hf_{A}",
    "Cerebras": f"csk-{A}", "Fireworks": f"fw_{A}", "Tavily": f"tvly-dev-{A}",
    "LangSmith": f"lsv2_pt_{HEX * 2}_{HEX[:10]}", "NVIDIA": f"nvapi-{A}-{A}", "Jina": f"jina_{A}",
    "E2B": f"e2b_{HEX * 2}", "Firecrawl": f"fc-{HEX * 2}", "Pinecone": f"pcsk_{A}_{A}",
    "AWS": "AKIAABCDEFGH23456789", "AWS temporary": "ASIAABCDEFGH23456789",
    "Google": f"AIza{A}abc", "Google OAuth": f"ya29.{A}-{A}", "Google client": f"GOCSPX-{A}",
    "Google refresh": f"1//0{A}-{A}", "Databricks": f"dapi{HEX * 2}",
    "DigitalOcean": f"dop_v1_{HEX * 4}", "Azure": "abc8Q~" + A + "ab",
    "GitHub": f"ghp_{A}abcd", "GitHub app": f"ghs_{A}abcd", "GitHub fine": f"github_pat_{A}_{A}",
    "GitLab": f"glpat-{A[:20]}", "GitLab deploy": f"gldt-{A[:20]}", "npm": f"npm_{A}abcd",
    "PyPI": f"pypi-{A}{A}", "Docker": f"dckr_pat_{A}", "Atlassian": f"ATATT3{A}{A}",
    "Vault": f"hvs.{A}", "Doppler": f"dp.pt.{A}{A[:8]}", "Terraform": f"{A[:14]}.atlasv1.{A}{A}",
    "Pulumi": f"pul-{HEX * 2}{HEX[:8]}", "SendGrid": f"SG.{A[:22]}.{A}{A[:11]}",
    "Slack": "xoxb-1234567890-abcdef", "Slack app": f"xapp-1-{A}",
    "Slack hook": "hooks.slack.com/services/T0123ABCD/B0123ABCD/" + A[:24],
    "Discord hook": f"discord.com/api/webhooks/123456789012345678/{A}{A}",
    "Stripe": f"sk_live_{A}", "Stripe test": f"rk_test_{A}", "Stripe hook": f"whsec_{A}",
    "Twilio": f"SK{HEX * 2}", "Mailgun": f"key-{HEX * 2}", "Mailchimp": f"{HEX * 2}-us12",
    "Shopify": f"shpat_{HEX * 2}", "Square": f"sq0atp-{A[:22]}",
    "Telegram": f"1234567890:AA{A}a", "Notion": f"secret_{A}{A[:11]}", "Linear": f"lin_api_{A}",
    "Supabase": f"sbp_{HEX * 2}{HEX[:8]}", "PlanetScale": f"pscale_pw_{A}",
    "Postman": f"PMAK-{HEX}{HEX[:8]}-{HEX * 2}01", "New Relic": "NRAK-" + A.upper()[:27],
    "Grafana": f"glsa_{A}_{HEX[:8]}", "age": "AGE-SECRET-KEY-1" + A.upper() + A.upper()[:26],
    "Mapbox": f"pk.eyJ{A}.{A[:22]}", "HubSpot": f"pat-na1-{UUID}",
    "Airtable": f"pat{A[:14]}.{HEX * 4}", "JWT": f"eyJ{A}.eyJ{A}{A}.{A}",
    "long JWT": f"eyJ{A}.eyJ{A * 400}.{A}", "long token": f"github_pat_{A * 50}",
    "PEM": f"-----BEGIN PRIVATE KEY-----\n{A}+/\n{A}==\n-----END PRIVATE KEY-----",
    "OpenSSH": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{A}\n-----END OPENSSH PRIVATE KEY-----",
    "cut PEM": f"-----BEGIN RSA PRIVATE KEY-----\n{A}+/",
}  # fmt: skip
# what surrounds the secret, which the second text is
IN_CONTEXT = {
    "password": ("password={}", "hunter22"), "quoted": ('{{"password": "{}"}}', "hunter2!"),
    "Python": ("connect(password='{}')", "hunter2"), "api key": ('api_key="{}"', "abcdefgh"),
    "header": ("api-key: '{}'", "hunterxx"), "AWS secret": ("aws_secret_access_key={}", A + A[:8]),
    "AWS file": ('"SecretAccessKey": "{}"', "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + A[:10]),
    "Azure": ("DefaultEndpointsProtocol=https;AccountKey={};Endpoint=x", f"{A}{A}+/{A[:20]}=="),
    "Bearer": ("Authorization: Bearer {}", A), "lower case": ("authorization: bearer {}", A),
    "Basic": ("Authorization: Basic {}", "dXNlcjpwYXNzd29yZDE="), "basic": ("basic {}", "YTpC4TIz"),
    "Redis": ("redis://{}@host:1", ":hunter22"), "URL": ("https://{}@host/x", "me:hunter2"),
    "Postgres": ("postgresql+psycopg://{}@h/db", "ann:hun%20ter"),
    "user": ("https://{}@github.com/x", "abcdefghijklmnop"),
    "SAS": ("https://x.blob.core.windows.net/c?sv=2022&sig={}", "aB3%2Fabcdefghijklmnop%3D"),
    "SAS in HTML": ("x?sv=1&amp;sig={}", "aB3abcdefghijklmnop"),
    "signed": ("https://s3/x?X-Amz-Signature={}", HEX * 4),
}  # fmt: skip


def found(text: str) -> list[str]:
    return [text[begin:end] for begin, end in spans(text)]


PLACES = {
    "alone": "{}", "a sentence": "it is {}, I think", "JSON": '{{"a": "line\\n{}\\n"}}',
    "colours": "\x1b[33m{}\x1b[0m", "JSON of colours": '"\\u001b[31m{}\\u001b[0m"',
    "a URL": "x?k%3D{}", "HTML": "<b>{}</b>", "a variable": "KEY={}", "CSV": "1,{},2",
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_seen_wherever_it_stands(name):
    for place in PLACES.values() if "PEM" not in name else ["{}"]:
        text = place.format(KEYS[name])
        begin = text.index(KEYS[name])
        assert any(one <= begin and begin + len(KEYS[name]) <= end for one, end in spans(text)), (
            text
        )


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_what_its_place_tells_is_seen(name):
    place, secret = IN_CONTEXT[name]
    assert found(place.format(secret)) == [secret]
    assert found(f"before {place.format(secret)} after") == [secret]


HARMLESS = [
    "connect(password=password, token=tokens[0], api_key=os.environ['OPENAI_API_KEY'])",
    'api_key="OPENAI_API_KEY"', "password = getpass()", "a basic understanding of authentication",
    "the bearer of bad news", "Basic statistics of 12 columns", "pip install scikit-learn==1.7.0",
    '<a class="sk-toggleable__content sk-estimator-doc-link" id="sk-container-id-1">',
    "https://example.org/a@b?signed=no", "git@github.com:me/repo.git", "ssh://git@github.com/me/x",
    "task-2026-11-29 dp.align gl-matrix shp files SKlearn pat. key-value xoxo",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    UUID, HEX * 4, "sha256:" + HEX * 4, "password: ********", "-----BEGIN CERTIFICATE-----",
]  # fmt: skip


@pytest.mark.parametrize("text", HARMLESS)
def test_code_prose_and_digests_are_left_alone(text):
    assert found(text) == []


def test_the_package_and_its_notebooks_hold_none(request):
    """Real code, prose, notebooks and data: almost nothing is taken for a secret by mistake."""
    root = request.config.rootpath
    paths = [*root.glob("lib/diptych/**/*.py"), *root.glob("notebooks/**/*.ipynb")]
    paths += [*root.glob("*.md"), *root.glob("params/**/*.yaml")]
    hits = {str(path): hit for path in paths if (hit := found(path.read_text()))}
    assert hits == {}


@pytest.mark.parametrize("spelling", [escape, lambda text: json.dumps(text)[1:-1], quote])
def test_a_key_is_seen_in_other_spellings(spelling):
    for name, key in KEYS.items():
        if spelling is not quote or ("PEM" not in name and name != "OpenSSH"):
            assert spans(spelling(f"it is {key}")), key


def widest(pattern: str) -> int:
    """Return the most characters that a pattern reads from one place, lookaheads included."""
    flat = re.sub(r"\(\?=([^()]|\([^()]*\))*\)", "", pattern)
    return re._parser.parse(flat).getwidth()[1]


def test_the_work_at_one_character_is_bounded():
    for shape in SHAPES:
        assert widest(shape.pattern.pattern) <= 900, shape
        assert len(shape.offsets) <= 6
    for number, (_, pattern) in enumerate(CONTEXTS):
        assert widest(pattern) <= 3_100
        assert "*" not in re.sub(r"\[[^]]*\]|\\.", "", pattern), number


ADVERSARIAL = [
    "sk-a", "-sk-a", "-eyJaaaaaaaaaaaaa", "-eyJaaaaaaaaaaa.eyJa", "://a:", "password=", "?sig=",
    "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN ", "basic A", "SG.aaaaaaaaaaaaaaaa.", "hf_",
    "12345678:AA", 'password="', "bearer 1",
]  # fmt: skip


@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_twice_the_text_is_twice_the_work(piece, monkeypatch):
    """The work: at how many places a pattern is tried, each bounded as above."""
    tried = []

    def counted(text, shape, anywhere):
        for begin in candidates(text, shape, anywhere):
            tried.append(begin)
            yield begin

    monkeypatch.setattr(secret_shapes, "candidates", counted)
    work = []
    for size in (20_000, 40_000):
        tried.clear()
        spans(piece * (size // len(piece)))
        work.append(len(tried))
    assert work[1] <= 2 * work[0] + 10
    assert work[1] <= 40_000
