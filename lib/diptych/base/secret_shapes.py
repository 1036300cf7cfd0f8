"""What keys, tokens and passwords look like, and where they stand in a text, in linear time.

The shapes are facts that their issuers document. Each names a text that every such key holds, and
only where this stands is its pattern tried. Each pattern has a longest match: the work at one
character is bounded, and so it is linear in all (`tests/base/test_secret_shapes.py` counts it).
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

_W = r"[\w-]{20,300}"
_A = r"[A-Za-z0-9]{20,300}"
_MIXED = r"(?=[\w-]{0,80}[A-Z])(?=[\w-]{0,80}\d)"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Shape:
    """How one kind of key is written.

    Attributes
    ----------
    hint : str
        What every such key holds.
    rest : str
        Pattern of what follows the hint; never longer than some hundred characters.
    before : str
        Pattern of what stands before the hint.
    offsets : tuple of int
        How many characters may stand before the hint.
    """

    hint: str
    rest: str
    before: str = ""
    offsets: tuple[int, ...] = (0,)

    @functools.cached_property
    def pattern(self) -> re.Pattern:
        """The whole key."""
        return re.compile(f"{self.before}{re.escape(self.hint)}{self.rest}", re.ASCII)


SHAPES = (
    # language models; scikit-learn's HTML has long classes such as sk-toggleable__content
    Shape("sk-", rf"(?:{_MIXED}{_W}|[a-z0-9]{{20,300}})"),
    Shape("sk-", r"(?:or-v1|or|ant|lf|proj|svcacct|admin)-(?=[\w-]{0,80}\d)[\w-]{16,300}"),
    Shape("pk-lf-", _UUID),
    *(Shape(hint, _A) for hint in (
        "gsk_", "xai-", "r8_", "pplx-", "hf_", "api_org_", "csk-", "fw_", "esecret_", "e2b_",
        "ntn_", "lin_api_", "ghp_", "gho_", "ghr_", "ghs_", "ghu_",
    )),
    *(Shape(hint, _W) for hint in (
        "tgp_v1_", "nvapi-", "jina_", "pcsk_", "ya29.", "GOCSPX-", "1//0", "github_pat_", "pypi-",
        "dckr_pat_", "ATATT3", "hvs.", "hvb.", "glsa_", "glc_", "lsv2_pt_", "lsv2_sk_",
    )),
    Shape("tvly-", rf"(?:dev-|prod-)?{_A}"), Shape("fc-", r"[0-9a-f]{32}"),
    # clouds
    *(Shape(hint, r"[A-Z0-9]{16}") for hint in ("AKIA", "ASIA", "ABIA", "ACCA")),
    Shape("AIza", r"[\w-]{30,60}"), Shape("dapi", r"[0-9a-f]{32}(?:-\d)?"),
    Shape("_v1_", r"[0-9a-f]{40,80}", "do[opr]", (3,)),
    Shape("Q~", r"[\w~.-]{31,34}", r"[\w~.-]{3}\d", (4,)),
    # code and packages
    *(Shape(f"gl{kind}-", r"[\w-]{16,100}") for kind in (
        "pat", "dt", "rt", "cbt", "ptt", "ft", "imt", "agent", "soat",
    )),
    Shape("npm_", r"[A-Za-z0-9]{30,60}"), Shape("pul-", r"[0-9a-f]{40}"),
    Shape("dp.", r"(?:pt|st|ct|sa|scim|audit)\.[\w.-]{30,80}"),
    Shape(".atlasv1.", _W, "[A-Za-z0-9]{14}", (14,)),
    # mail, talk, money and others
    Shape("SG.", r"[\w-]{16,100}\.[\w-]{16,100}"), Shape("xox", r"[a-z]-[A-Za-z0-9-]{10,200}"),
    Shape("xapp-", r"[A-Za-z0-9-]{10,200}"), Shape("whsec_", r"[\w+/=]{20,100}"),
    Shape("hooks.slack.com/", r"(?:services|workflows)/[\w/-]{20,120}"),
    Shape("discord.com/api/webhooks/", r"\d{10,30}/[\w-]{20,120}"),
    *(Shape(mode, r"[A-Za-z0-9]{10,200}", "[srp]k", (2,)) for mode in ("_live_", "_test_")),
    Shape("SK", r"[0-9a-f]{32}"), Shape("key-", r"[0-9a-f]{32}"),
    Shape("-us", r"\d{1,2}", r"[0-9a-f]{32}", (32,)),
    Shape("shp", r"(?:at|ca|pa|ss)_[0-9a-f]{32}"), Shape("sq0", r"[a-z]{3}-[\w-]{22,60}"),
    *(Shape(hint, r"[\w-]{32,40}", r"(?:bot)?\d{8,10}", (13, 12, 11, 10, 9, 8))
      for hint in (":AA", "%3AAA")),
    Shape("secret_", r"[A-Za-z0-9]{40,60}"), Shape("sbp_", r"[0-9a-f]{40}"),
    Shape("pscale_", rf"(?:pw|tkn|oauth)_{_W}"), Shape("PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    Shape("NRAK-", r"[A-Z0-9]{27}"), Shape("AGE-SECRET-KEY-1", r"[A-Z0-9]{50,70}"),
    Shape("k.eyJ", r"[\w.-]{20,300}", "[sp]", (1,)),
    Shape("pat-", rf"[a-z]{{2}}\d-{_UUID}"), Shape("pat", r"[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    Shape("eyJ", r"[\w-]{10,500}+\.eyJ[\w-]{10,300}"),
)  # fmt: skip
# A token may follow an escape of JSON or of a URL, or a terminal colour code, whose last character
# is a letter.
START = re.compile(
    r"(?<![A-Za-z0-9])|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4})|(?<=%[0-9A-F]{2})"
    r"|(?<=\[m)|(?<=\[\dm)|(?<=\[\d\dm)|(?<=[;\d]\d\dm)|(?<=;\dm)"
)
# the rest of a token that is longer than its pattern; a JSON Web Token has three parts
_TAIL, _JWT_TAIL = re.compile(r"[\w-]*", re.ASCII), re.compile(r"[\w.-]*", re.ASCII)

_NAMES = (
    "password", "passwd", "passphrase", "api_key", "api-key", "apikey", "access_token",
    "auth_token", "refresh_token", "client_secret", "secret_key", "secret_access_key",
    "secretaccesskey", "account_key", "accountkey", "shared_access_key", "sharedaccesskey",
    "private_key",
)  # fmt: skip
# What follows one of these names, a header's scheme or a URL's sign is secret whatever its shape;
# code that passes a variable on (password=password) and the name of a variable are not.
CONTEXTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        _NAMES,
        rf"(?i:{'|'.join(_NAMES)})(?:\\?[\"']|&quot;|&#39;)?\s{{0,4}}[:=]\s{{0,4}}"
        r"(?:\\?[\"']|&quot;|&#39;)(?![A-Z][A-Z0-9_]{1,80}_[A-Z0-9]{1,40}[\"'&\\])"
        r"(?P<quoted>(?!\[redacted|(?i:password|secret|ollama|dummy))[^\s\"'\\&<>]{6,300})",
    ),
    (
        _NAMES,
        rf"(?i:{'|'.join(_NAMES)})=(?=[^\s\"'&;,(){{}}<>]{{0,80}}\d)"
        r"(?P<bare>[^\s\"'\\&;,(){}<>\[\]]{6,300})",
    ),
    (
        ("bearer ",),
        r"(?i:bearer )(?P<bearer>[\w.~+/-]{20,3000}={0,2}"
        r"|(?=[\w.~+/-]{0,80}\d)[\w.~+/-]{8,80}={0,2})",
    ),
    (
        ("basic ",),
        r"(?i:\bbasic )(?=[A-Za-z0-9+/]{0,80}[0-9=])(?=[A-Za-z0-9+/]{0,80}[A-Z])"
        r"(?P<basic>[A-Za-z0-9+/]{8,1000}={0,2})",
    ),
    (
        ("authorization",),
        r"(?i:authorization)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?i:basic|bearer|token|apikey|bot)\s"
        r"(?P<credentials>(?!\[redacted)[^\s\"'\\<>,{}$]{6,3000})",
    ),
    (("sig=",), r"[?&;]sig=(?P<sig>[\w%+/=.-]{16,300})"),
    (("signature=",), r"(?i:[?&;-]signature=)(?P<signature>[\w%+/=.-]{16,300})"),
    (("://",), r"://(?P<user>[^\s/:@\"'<>\\]{0,256}:[^\s/@\"'<>\\]{1,256})(?=@)"),
    (("://",), r"://(?P<token>(?!git@)[^\s/:@\"'<>\\?#]{12,256})(?=@)"),
)  # fmt: skip
PEM_BEGIN, PEM_END = "-----BEGIN ", "-----END "
_PEM_HEAD = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY")
_PEM_BODY = re.compile(r"[\w+/=\s\\:,.-]*", re.ASCII)


def spans(text: str, anywhere: bool = False) -> list[tuple[int, int]]:
    """Return where secrets of a known shape stand, in order and apart.

    Parameters
    ----------
    text : str
    anywhere : bool
        Whether a key may follow a letter, as in a file where its length stands before it.

    Returns
    -------
    list of (int, int)
        First character, and the one after the last.
    """
    merged: list[tuple[int, int]] = []
    for begin, end in sorted([*_shaped(text, anywhere), *_named(text), *_pem(text)]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def _shaped(text: str, anywhere: bool) -> Iterator[tuple[int, int]]:
    for shape in SHAPES:
        tail, end = _JWT_TAIL if shape.hint == "eyJ" else _TAIL, 0
        for begin in candidates(text, shape, anywhere):
            if begin >= end and (match := shape.pattern.match(text, begin)):
                end = tail.match(text, match.end()).end()
                yield begin, end


def candidates(text: str, shape: Shape, anywhere: bool = False) -> Iterator[int]:
    """Yield where a key of a shape could begin."""
    at = text.find(shape.hint)
    while at >= 0:
        for offset in shape.offsets:
            if at >= offset and (anywhere or START.match(text, at - offset)):
                yield at - offset
        at = text.find(shape.hint, at + 1)


def _named(text: str) -> Iterator[tuple[int, int]]:
    lowered = text.lower()
    for number, (hints, _) in enumerate(CONTEXTS):
        if any(hint in lowered for hint in hints):
            for match in context_of(number).finditer(text):
                yield match.span(match.lastgroup)


@functools.cache
def context_of(number: int) -> re.Pattern:
    """Return the pattern of one of `CONTEXTS`."""
    return re.compile(CONTEXTS[number][1], re.ASCII)


def _pem(text: str) -> Iterator[tuple[int, int]]:
    """Find private keys in PEM, also such as do not end."""
    at = text.find(PEM_BEGIN)
    while at >= 0:
        if (head := _PEM_HEAD.match(text, at)) is None:
            at = text.find(PEM_BEGIN, at + 1)
            continue
        end = _PEM_BODY.match(text, head.end()).end()
        close = text.find(PEM_END, head.end(), end)
        if close >= 0:
            end = min(end, text.find("-----", close + len(PEM_END)) % (len(text) + 1) + 5)
        yield at, end
        at = text.find(PEM_BEGIN, end)
