"""Words, sentences, passages and cues of English text, over which the features are counted.

All word lists are hand-written, not learned from data.
"""

import re
from dataclasses import dataclass

WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?|\d+(?:[.,:/]\d+)*%?")
STOP = frozenset(
    """a an the and or but if then else of to in on at by for with from as is are was were be been
    being it its this that these those he she they them his her their our your you i we my me us
    not no do does did done have has had having can could will would shall should may might must so
    than too very just also about into over under again further here there when where why how all
    any both each few more most other some such only own same up down out off which who whom what
    while during before after above below between through because until against per based provided
    passage passages given according answer question mention mentioned states information text
    source""".split()
)
NUMBERS = {word: str(n) for n, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve".split())}  # fmt: skip
ENDINGS = sorted(
    """ingly edly ations ation itions ition ions ion ings ing ness ments ment ied ies ed es ly s ers
    er ors or ive ives al ity ities able ible ance ence ant ent ize izes ized izing ise""".split(),
    key=len,
    reverse=True,
)
BREAK = re.compile(r"(?<=[.!?])[\"”)]?\s+(?=\S)|\n+")
ABBREVIATED = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|vs|No|e\.g|i\.e|approx)\.\s*$")
MARKER = re.compile(r"^\s*(?:\d+[.)]|[-*•+])(?:\s+|$)", re.MULTILINE)  # of a list's item
PASSAGE = re.compile(r"passage\s*#?\s*(\d+)\s*:", re.IGNORECASE)
CITED = re.compile(
    r"[(\[]?\bpassages?\s*#?\s*\d+(?:[\s,&-]*(?:and|or|to|passages?)?[\s#]*\d+)*[)\]]?:?",
    re.IGNORECASE,
)
ONLY_CITED = re.compile(r"\W*(?:(?:source|see|from|according to|in)\W+)?$", re.IGNORECASE)
CLAUSE = re.compile(
    r"[,;:()\u2013\u2014]|\s-\s|\b(?:which|that|such as|and|but|or|because|so that|as well as|while"
    r"|although|including|by|to|if|when|where|before|after|until|for)\b",
    re.IGNORECASE,
)
CUES = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "refuses": r"unable to answer|cannot answer|no (?:information|mention|specific)"
        r"|(?:do|does|did|is|are)(?: not|n't) (?:provide|contain|mention|specif|include|give|state"
        r"|clear|possible|enough|explicit|directly)|not (?:mentioned|specified|provided|clear"
        r"|explicitly|enough|stated)|insufficient|unclear",
        "tells of the source": r"based on|according to|(?:provided|given) passages?|the passages?"
        r"|mentioned|the (?:given )?question|states? that|as stated|here(?:'s| is| are)|the answer",
        "passages lack": r"(?:passages?|text|information|context)[^.]{0,40}(?:do|does|did)"
        r"(?: not|n't)|no (?:mention|information|specific)",
        "unable to answer": r"unable to answer",
        "concludes": r"\btherefore\b|\boverall\b|in (?:summary|conclusion|general|short)"
        r"|\bultimately\b|\bthus\b|\bhence\b|to (?:summarize|sum up|conclude)|\bso,",
        "therefore": r"\btherefore\b|\bthus\b|\bso\b",
        "overall": r"\boverall\b|in (?:summary|conclusion)",
        "advises": r"\bimportant\b|\bconsult|\brecommend|\bensur|\bmake sure\b|\bshould\b|\badvis"
        r"|\bbest\b|\bremember\b|\bkeep in mind\b|\bconsider|\bnote that\b|\bprofessional"
        r"|\bnecessary\b|\bcareful",
        "notes": r"\bnote\b",
        "hedges": r"\bmay\b|\bmight\b|\bcould\b|\blikely\b|\bsuggest|\bimpl|\bpossibl|\bpotential"
        r"|\bseems?\b|\bappears?\b|\bperhaps\b|\bprobably\b|\btypically\b|\bgenerally\b"
        r"|\busually\b|\boften\b|\bvar(?:y|ies|ious)\b|\bdepend",
        "infers": r"\binfer|\bimpl|\bindicat|\bsuggest|\bassum",
        "gives examples": r"\bsuch as\b|\bincluding\b|\bfor (?:example|instance)\b|\be\.g\."
        r"|\blike\b|\betc\b",
        "gives reasons": r"\ballow|\bmak(?:e|es|ing)\b|\bhelp|\bbecause\b|\bdue to\b|\bso that\b"
        r"|\bprovid(?:e|es|ing)\b|\bwhich (?:can|may|is|are|helps?|makes?|means?)|\bin order to\b"
        r"|\bas (?:it|they|this)\b|\bby \w+ing\b|\bensur|\benabl|\bprevent|\blead|\bresult|\bcaus"
        r"|\bimprov|\breduc|\bincreas",
        "adds": r"\badditional|\bfurther|\bmoreover\b|\balso\b|\bother\b|\banother\b",
        "contrasts": r"\bhowever\b|\bwhile\b|\balthough\b|\bwhereas\b|\bon the other hand\b"
        r"|\binstead\b|\brather\b|\bbut\b|\bunlike\b|\bcompared\b|\bdifference|\bhigher\b|\blower\b"
        r"|\b(?:more|less) than\b",
        "however": r"\bhowever\b",
        "denies": r"\bnot\b|n't\b|\bno\b|\bnever\b|\bwithout\b|\bneither\b|\bnor\b|\bcannot\b",
        "points back": r"^\W*(?:this|these|it|they|that)\b",
        "or": r"\bor\b",
        "and": r"\band\b",
        "all or none": r"\b(?:all|every|always|any|only|both|never|each)\b",
        "can": r"\bcan\b",
        "will": r"\bw(?:ill|ould)\b",
        "you": r"\byour?\b",
        "it": r"\bit(?:s|'s)?\b",
        "there is": r"\bthere (?:is|are)\b",
        "which": r"\bwhich\b|\bthat\b",
        "trailing -ing": r",\s+\w+ing\b",
        "question": r"\bquestion\b",
        "answer": r"\banswer",
        "polite": r"\bhope\b|let me know|feel free|happy to",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Word:
    """A word or number of a text: its stem and its span."""

    text: str
    stem: str
    start: int
    end: int
    number: bool
    content: bool

    @property
    def weight(self) -> float:
        """Its information; longer words carry more (Piantadosi et al. 2011, PNAS 108, 3526)."""
        return 4.0 if self.number else 1 + 0.35 * min(len(self.text), 12)


def stem(word: str) -> str:
    """Cut the ending of an English word: "regulates" and "regulation" have the same stem."""
    word = word.lower().replace("\u2019", "'").removesuffix("'s")
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] in "yie":
        word = word[:-1]
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word


def words(text: str) -> list[Word]:
    """Return the words and numbers of a text, without list markers and citations of passages."""
    skipped = [m.span() for m in MARKER.finditer(text)] + [m.span() for m in CITED.finditer(text)]
    hidden = {place for start, end in skipped for place in range(start, end)}
    tokens = []
    for match in WORD.finditer(text):
        if match.start() in hidden:
            continue
        word = match[0]
        low = word.lower()
        if word[0].isdigit():
            root = word.rstrip("%").replace(",", "")
        else:
            root = NUMBERS.get(low) or stem(word)
        number = root[0].isdigit()
        content = number or (low not in STOP and len(root) > 1)
        tokens.append(Word(word, root, *match.span(), number, content))
    return tokens


def sentences(text: str) -> list[tuple[int, int]]:
    """Return start and end of the sentences and list items of a text.

    A list's number, or a citation alone, belongs to the sentence beside it.
    """
    spans: list[tuple[int, int]] = []
    start = 0
    for end, after in [*(m.span() for m in BREAK.finditer(text)), (len(text), len(text))]:
        part = text[start:end]
        broken = "\n" in text[end:after] or end == len(text)
        if not broken and (ABBREVIATED.search(part) or MARKER.fullmatch(part)):
            continue
        if part.strip():
            cited = CITED.sub("", part)
            alone = cited != part and ONLY_CITED.match(cited) and not part.rstrip().endswith(":")
            if spans and alone:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        start = after
    return spans


def passages(text: str) -> list[str]:
    """Split a source at "passage 1:" and so on; without such headings it is one passage."""
    heads = list(PASSAGE.finditer(text))
    if not heads:
        return [text]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [text[head.end() : end] for head, end in zip(heads, ends, strict=True)]


def cited(text: str) -> set[int]:
    """Return the numbers of the passages that a text names."""
    return {int(n) for m in CITED.finditer(text) for n in re.findall(r"\d+", m[0]) if len(n) < 3}
