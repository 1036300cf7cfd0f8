"""Times as people write them: the form is decided once for a column and read again in service.

A `TimeFormat` holds what was decided (layout, day first or month first, unit, zone). Columns and
single values are read by the same function, so that training and serving cannot differ.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:  # an endpoint reads single values without pandas
    import pandas as pd

EPOCH = date(1970, 1, 1).toordinal()
SECOND = 1_000_000  # microseconds
DAY = 86_400 * SECOND
EARLY = 1e8  # seconds since 1970, March 1973: most numbers below are counters, no times
PLACEHOLDERS = ("01-01", "12-30", "12-31")  # days that systems write for a missing date
SAMPLE = 2_000  # different values that decide the layout
YEARS = (1, 9999)
MONTH_FIRST, DAY_FIRST, YEAR_FIRST = "mdy", "dmy", "ymd"
FIRST = {DAY_FIRST: "the day", MONTH_FIRST: "the month", YEAR_FIRST: "the year"}

# English, German, French and Spanish, as far as they are written in tables
MONTHS = {
    word: number
    for number, words in enumerate(
        (
            "jan january januar janv janvier ene enero",
            "feb february februar févr février febrero",
            "mar march mär märz mars marzo",
            "apr april avr avril abr abril",
            "may mai mayo",
            "jun june juni juin junio",
            "jul july juli juil juillet julio",
            "aug august août ago agosto",
            "sep sept september septembre septiembre",
            "oct october okt oktober octobre octubre",
            "nov november novembre noviembre",
            "dec december dez dezember déc décembre dic diciembre",
        ),
        1,
    )
    for word in words.split()
}
# hours from UTC; where a name has several meanings, the one written most often
ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "MEZ": 1, "CEST": 2,
    "MESZ": 2, "EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5, "HKT": 8, "SGT": 8, "JST": 9, "KST": 9,
    "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5,
    "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip
AMBIGUOUS = {"IST": "India", "CST": "North America", "BST": "British summer", "MST": "Mountain"}
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # per second

_ZONE = (
    r"(?:Z|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?|[A-Z]{2,5}|[A-Z][A-Za-z]+/[A-Za-z_/]+)"
    r"(?:\s*\([^)]*\))?"
)
_CLOCK = (
    r"(?:(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp]\.?[Mm]\.?))?"
    r"|(?P<H2>\d{1,2})\s*(?P<half2>[AaPp]\.?[Mm]\.?))"
)
_TIME = rf"(?:(?:\s*,\s*|[T\s]\s*){_CLOCK}\s*(?P<zone>{_ZONE})?)?"
_DAYNAME = r"(?:[A-Za-z]{2,9}\.?,?\s+)?"
_MONTH = r"(?P<month>[^\W\d_]{3,10})\.?"

# in order of preference where several read equally many values
_LAYOUTS = {
    "iso": rf"(?P<y>\d{{4}})(?P<sep>[-/.])(?P<m>\d{{1,2}})(?P=sep)(?P<d>\d{{1,2}}){_TIME}",
    "numeric": (
        rf"(?P<a>\d{{1,2}})(?P<sep>[-/.])(?P<b>\d{{1,2}})(?P=sep)(?P<y>\d{{4}}|\d{{2}}){_TIME}"
    ),
    "day month year": (
        rf"{_DAYNAME}(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?[\s./-]*{_MONTH}[\s,./-]+"
        rf"(?P<y>\d{{4}}|\d{{2}}){_TIME}"
    ),
    "month day year": (
        rf"{_DAYNAME}{_MONTH}[\s./-]+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s,./-]+(?P<y>\d{{4}}){_TIME}"
    ),
    "twitter": (
        rf"[A-Za-z]{{3}},?\s+{_MONTH}\s+(?P<d>\d{{1,2}})\s+{_CLOCK}"
        rf"(?:\s+(?P<zone>{_ZONE}))?\s+(?P<y>\d{{4}})"
    ),
    "quarter": (
        r"(?:(?P<y>\d{4})\s*[-/ ]?\s*[Qq](?P<q>[1-4])"
        r"|[Qq](?P<q2>[1-4])\s*[-/ ]?\s*(?P<y2>\d{4}))"
    ),
    "week": r"(?P<y>\d{4})-?W(?P<w>\d{2})(?:-?(?P<wd>[1-7]))?",
    "month": (
        r"(?:(?P<y>(?:1[5-9]|2[0-2])\d{2})[-/.](?P<m>\d{1,2})"
        r"|(?P<m2>\d{1,2})[-/.](?P<y2>(?:1[5-9]|2[0-2])\d{2})"
        rf"|{_MONTH}[\s,./-]+(?P<y3>\d{{4}}))"
    ),
    "compact": (
        r"(?P<y>(?:1[89]|2[01])\d{2})(?P<m>\d{2})(?P<d>\d{2})"
        rf"(?:[T_ -]?(?P<H>\d{{2}})(?P<M>\d{{2}})(?P<S>\d{{2}})?\s*(?P<zone>{_ZONE})?)?"
    ),
    "epoch": r"-?\d+(?:\.\d+)?",
    "year": r"(?P<y>1[5-9]\d{2}|2[0-2]\d{2})",
}
LAYOUTS = {name: re.compile(pattern) for name, pattern in _LAYOUTS.items()}
NUMERIC = ("epoch", "compact", "year")  # layouts that plain numbers may have by chance
EXAMPLES = {
    "iso": "2026-03-31 14:00", "numeric": "31/03/2026", "day month year": "31 Mar 2026",
    "month day year": "Mar 31, 2026", "twitter": "Tue Mar 31 14:00:00 +0000 2026",
    "quarter": "2026Q1", "week": "2026-W05", "month": "2026-03", "compact": "20260331",
    "epoch": "1774965600", "year": "2026",
}  # fmt: skip


PLAIN = r"^(1[6-9]|2[0-9])[0-9]{2}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2})?$"


class TimeError(ValueError):
    """A column holds values that are no times, or not all of one form."""

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row  # place of the first such value, counted from 0


@dataclass(frozen=True)
class TimeFormat:
    """How one column writes times.

    Attributes
    ----------
    layout : str
        One of `LAYOUTS`.
    order : str
        ``"dmy"`` or ``"mdy"`` where day and month are numbers before the year, else "".
    unit : str
        Of an epoch, one of `UNITS`, else "".
    zone : str
        Of times that name none: a name such as ``"UTC"``, ``"CET"``, ``"Europe/Berlin"``, or an
        offset such as ``"+02:00"``.
    """

    layout: str
    order: str = ""
    unit: str = ""
    zone: str = "UTC"

    def parse(self, value: Any) -> int | None:
        """Return microseconds since 1970 in UTC, or None if `value` is not of this form.

        Parameters
        ----------
        value : str, int, float or datetime
            A time whose zone is not written has this format's `zone`; of a quarter, week, month
            or year the first moment is meant.
        """
        if isinstance(value, date):  # a datetime too
            value = value.isoformat()
        elif isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool):
            return None
        text = str(value).strip()
        layout = "iso" if _is_iso(text) else self.layout
        match = LAYOUTS[layout].fullmatch(text)
        if not match:
            return None
        try:
            if layout == "epoch":
                return self._epoch(text)
            return _moment(match.groupdict(), layout, self)
        except (ValueError, OverflowError, KeyError):
            return None

    def parse_all(self, values: Sequence) -> list[int | None]:
        """Return what `parse` returns of each value; plain ISO strings are read all at once."""
        plain = plain_moments(values, self)
        pairs = zip(values, plain, strict=True)
        return [self.parse(value) if moment is None else moment for value, moment in pairs]

    def _epoch(self, text: str) -> int:
        whole, _, rest = text.lstrip("-").partition(".")
        scaled = int(whole + rest[:9].ljust(9, "0")) * SECOND // (UNITS[self.unit] * 10**9)
        result = -scaled if text.startswith("-") else scaled
        return _bounded(result)

    def describe(self) -> str:
        """Return a few words such as ``31/03/2026, day first, times without a zone are UTC``."""
        words = {DAY_FIRST: ", day first", MONTH_FIRST: ", month first"}.get(self.order, "")
        example = EXAMPLES[self.layout]
        if self.order == YEAR_FIRST:
            example = "26-03-31"
        if self.order == MONTH_FIRST:
            example = "03/31/2026"
        if self.layout == "epoch":
            return f"{self.unit} since 1970 (UTC)"
        return f"like {example}{words}, in {self.zone} where no zone is written"

    def to_dict(self) -> dict:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict) -> "TimeFormat":
        """Rebuild what `to_dict` returned."""
        return cls(**content)


def read_times(
    values: "pd.Series", order: str = "", zone: str = "UTC"
) -> tuple["pd.Series", TimeFormat, list[str]]:
    """Read a column of times.

    Parameters
    ----------
    values : Series
        Strings, numbers (an epoch), dates or times; null where a time is missing.
    order : str
        ``"dmy"`` or ``"mdy"``; by default decided from the whole column (see `day_or_month_first`).
    zone : str
        Of times that name none.

    Returns
    -------
    times : Series of datetime64[us, UTC]
    format : TimeFormat
        Reads single values likewise.
    notes : list of str
        What was decided, and times far from all others.

    Raises
    ------
    TimeError
        If a value is no time, or not written like the others.
    """
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return _native(values, zone)
    codes, distinct = pd.factorize(values)
    distinct = distinct.tolist()
    if not distinct:
        raise TimeError("there is no time in it")
    form, notes = decide(distinct, order, zone)
    read = form.parse_all(distinct)
    if None in read:
        row = int((codes == read.index(None)).argmax())
        raise TimeError(
            f"it holds {str(values.iloc[row])!r} in row {row + 1}, which is no time, or not "
            f"written like the others ({form.describe()})",
            row,
        )
    times = series(read, codes, values.index)
    return times, form, notes + far_times(times)


def plain_moments(values: Sequence, form: TimeFormat) -> list[int | None]:
    """Read strings such as ``2026-03-31 14:00:00`` all at once; None where `parse` must decide."""
    unread: list[int | None] = [None] * len(values)
    if (form.layout, form.zone) != ("iso", "UTC") or not any(isinstance(x, str) for x in values):
        return unread
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        strings = pa.array(values, pa.string())
        plain = pc.match_substring_regex(strings, PLAIN)
        strings = pc.if_else(plain, strings, None)
        return strings.cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()
    except pa.ArrowException:  # a day that is none, or values that are no strings
        return unread


def series(moments: Sequence[int | None], codes: Any, index: Any) -> "pd.Series":
    """Return a UTC series of `moments` (microseconds) at `codes`; -1 is a missing one."""
    import numpy as np
    import pandas as pd

    missing = np.iinfo(np.int64).min  # NaT
    taken = np.append(np.asarray(moments, dtype=np.int64), missing)[codes]
    return pd.Series(taken.view("M8[us]"), index=index).dt.tz_localize("UTC")


def native_times(values: "pd.Series", zone: str) -> "pd.Series | None":
    """Return times of a pandas type in UTC, as `TimeFormat.parse` reads each of them.

    None where they name no zone and `zone` is not UTC, or lie outside the years 1 to 9999.
    """
    if values.dt.tz is None:
        if zone != "UTC":
            return None
        values = values.dt.tz_localize("UTC")
    times = values.dt.tz_convert("UTC")
    times = (times.dt.floor("us") if times.dt.unit == "ns" else times).dt.as_unit("us")
    known = times.dropna()
    inside = known.empty or (known.min().year >= YEARS[0] and known.max().year <= YEARS[1])
    return times if inside else None


def _native(values: "pd.Series", zone: str) -> tuple["pd.Series", TimeFormat, list[str]]:
    import pandas as pd

    form = TimeFormat("iso", zone=zone)
    notes = [] if values.dt.tz else [f"times without a zone are taken for {zone}"]
    times = native_times(values, zone)
    if times is None:
        codes, distinct = pd.factorize(values)
        moments = [form.parse(x) for x in distinct]
        if None in moments:
            raise TimeError(
                f"it holds {distinct[moments.index(None)]}, outside the years 1 to 9999"
            )
        times = series(moments, codes, values.index)
    return times, form, notes + far_times(times)


def decide(distinct: Sequence, order: str = "", zone: str = "UTC") -> tuple[TimeFormat, list[str]]:
    """Return the format that reads most of some different values, and what was decided.

    Raises
    ------
    TimeError
        If none reads any, or some can only be day first and others only month first.
    """
    zone_of(zone)
    sample = [_text(value) for value in distinct[:: -(-len(distinct) // SAMPLE)]]
    counts = {
        name: sum(bool(pattern.fullmatch(text)) for text in sample)
        for name, pattern in LAYOUTS.items()
    }
    layout = max(counts, key=lambda name: counts[name])
    if not counts[layout]:
        raise TimeError(f"it holds {sample[0]!r}, which is no time")
    if layout in NUMERIC and counts[layout] == counts["epoch"]:
        layout = _number_layout(sample, counts)
    notes = []
    if layout == "numeric":
        texts = [_text(x) for x in distinct]
        order, reason = (order, "as asked") if order else day_or_month_first(texts)
        notes.append(f"{FIRST[order]} stands first, {reason}")
        if any(len(m["y"]) == 2 for m in map(LAYOUTS[layout].fullmatch, sample) if m):
            notes.append("years of two digits are 1969 to 2068")
    form = TimeFormat(
        layout,
        order=order if layout == "numeric" else "",
        unit=_unit(sample) if layout == "epoch" else "",
        zone=zone,
    )
    return form, [f"times are {form.describe()}", *notes, *_zone_notes(sample, layout)]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return (value.isoformat() if isinstance(value, date) else str(value)).strip()


def _number_layout(sample: list[str], counts: dict[str, int]) -> str:
    """Of layouts made of digits alone, dates and years come before seconds since 1970."""
    for name in ("compact", "year"):
        form = TimeFormat(name)
        if counts[name] == counts["epoch"] and sum(form.parse(x) is not None for x in sample):
            return name
    return "epoch"


def _unit(sample: list[str]) -> str:
    """Return the unit in which most of an epoch's values lie between 1973 and 5138.

    Raises
    ------
    TimeError
        If most lie before.
    """
    sizes = sorted(abs(float(x)) for x in sample if LAYOUTS["epoch"].fullmatch(x))
    middle = sizes[len(sizes) // 2]
    if middle < EARLY:
        raise TimeError(
            f"it holds numbers such as {sample[0]}, which are no seconds since 1970 and no dates"
        )
    _refuse_two_units(sizes)
    return next(u for u, most in (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", float("inf")))
                if middle < most)  # fmt: skip


def _refuse_two_units(sizes: list[float]) -> None:
    """Refuse a column in which all of the smaller numbers are the same times in another unit."""
    for most in (1e11, 1e14, 1e17):
        small = [x for x in sizes if x < most]
        large = sizes[len(small) :]
        if small and large and small[0] >= EARLY:
            low, high = large[0], large[-1]
            margin = max(high - low, 0.01 * high)
            if all(low - margin <= 1000 * x <= high + margin for x in small):
                raise TimeError(
                    f"it holds {small[0]:.0f} beside {large[0]:.0f}, times in two units; write "
                    "them in one"
                )


def day_or_month_first(texts: Iterable[str]) -> tuple[str, str]:
    """Return ``"dmy"``, ``"mdy"`` or ``"ymd"`` for dates such as 1/2/2023, and why.

    Rules, the first that decides: a year of two digits stands first (see `_year_first`); a number
    over 12 is a day; the rows are in order of time under
    one reading only; after a full stop the day comes first, else the month.

    Raises
    ------
    TimeError
        If some dates can only be day first and others only month first.
    """
    matches = [m for m in map(LAYOUTS["numeric"].fullmatch, texts) if m]
    day = next((m[0] for m in matches if int(m["a"]) > 12), None)
    month = next((m[0] for m in matches if int(m["b"]) > 12), None)
    if day and month:
        raise TimeError(f"{day!r} can only be day first and {month!r} only month first")
    if day and _year_first(matches):
        return YEAR_FIRST, f"as in {day!r}: the last number changes more than the first"
    if day or month:
        return (DAY_FIRST if day else MONTH_FIRST), f"as {day or month!r} shows"
    ordered = [o for o in (DAY_FIRST, MONTH_FIRST) if _in_order(matches, o)]
    if len(ordered) == 1 and len(matches) > 2:
        return ordered[0], "since only so the rows are in order of time (no day is over 12)"
    order = DAY_FIRST if matches[0]["sep"] == "." else MONTH_FIRST
    mark = "after a full stop" if order == DAY_FIRST else f"with {matches[0]['sep']!r}"
    return order, f"as is usual {mark}; no day is over 12, so check this"


def _year_first(matches: list[re.Match]) -> bool:
    """Whether 23-08-20 is of 2023: all could be so, and none of the first numbers is a month.

    A year changes less than a day; days from the 28th on alone are the ends of months.
    """
    first, last = ({int(m[part]) for m in matches} for part in "ay")
    could = (
        all(len(m["a"]) == len(m["y"]) == 2 for m in matches) and 1 <= min(last) <= max(last) <= 31
    )
    return (
        could
        and min(first) > 12
        and len(first) < len(last)
        and not (min(first) >= 28 and max(first) <= 31)
    )


def _in_order(matches: list[re.Match], order: str) -> bool:
    form = TimeFormat("numeric", order)
    moments = [moment for m in matches if (moment := form.parse(m[0])) is not None]
    if len(moments) < len(matches):
        return False
    rising = all(a <= b for a, b in itertools.pairwise(moments))
    return rising or all(a >= b for a, b in itertools.pairwise(moments))


def _zone_notes(sample: list[str], layout: str) -> list[str]:
    names = set()
    for match in map(LAYOUTS[layout].fullmatch, sample):
        names.add((match.groupdict().get("zone") or "") if match else "")
    notes = [
        f"{name} is taken for {AMBIGUOUS[name]} ({ZONES[name]:+g} h)"
        for name in sorted(names & set(AMBIGUOUS))
    ]
    if "" in names and len(names) > 1:
        notes.append("some times name a zone and others none")
    return notes


def far_times(times: "pd.Series") -> list[str]:
    """Name times far from all others, such as 1970-01-01 or 2099-12-31 among those of 2023.

    Far is more than five times the span of the middle 90 % of rows, or more than once that span
    at a date that systems write for a missing one.
    """
    import numpy as np

    known = times.dropna()
    if len(known) < 4:
        return []
    moments = known.dt.as_unit("us").astype("int64").to_numpy()
    ends = max(1, len(moments) // 20)  # 5 % at each end, at least one row
    low, high = np.partition(moments, (ends, -1 - ends))[[ends, -1 - ends]]
    span = max(high - low, DAY)
    distance = np.maximum(low - moments, moments - high)
    far = distance > 5 * span
    apart = np.flatnonzero(~far & (distance > max(span, 365 * DAY)))
    far[apart] = known.iloc[apart].dt.strftime("%m-%d").isin(PLACEHOLDERS).to_numpy()
    if not far.any():
        return []
    names = sorted({f"{x:%Y-%m-%d}" for x in known[far].head(50)})
    more = ", ..." if len(names) > 3 else ""
    return [
        f"{int(far.sum()):,} of {len(known):,} times lie far from all others "
        f"({', '.join(names[:3])}{more}); these may stand for a missing time"
    ]


def _is_iso(text: str) -> bool:
    """Whether a value has a year, a month and a day in this order, which no layout reads else."""
    return bool(LAYOUTS["iso"].fullmatch(text))


def _moment(part: dict, layout: str, form: TimeFormat) -> int:
    """Return microseconds since 1970 of a match's parts; ValueError if there is no such day."""
    get: Callable = part.get
    if form.order == YEAR_FIRST and layout == "numeric":
        if len(part["y"]) != 2 or len(part["a"]) != 2:
            raise ValueError("not a year, a month and a day of two digits")
        part = part | {"y": part["a"], "a": part["y"]}  # then it is day first
        get = part.get
    year = _year(get("y") or get("y2") or get("y3"))
    if layout == "week":
        day = date.fromisocalendar(year, int(part["w"]), int(part["wd"] or 1))
    else:
        day = date(year, *_month_and_day(part, layout, form.order))
    hour, half = int(get("H") or get("H2") or 0), get("half") or get("half2")
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("an hour with AM or PM is 1 to 12")
        hour = hour % 12 + 12 * (half[0] in "pP")
    minute, second = int(get("M") or 0), int(get("S") or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no time of a day")
    micro = int((get("f") or "0").ljust(6, "0")[:6])
    total = ((day.toordinal() - EPOCH) * 86_400 + hour * 3600 + minute * 60 + second) * SECOND
    zone = zone_of(get("zone") or form.zone)
    if isinstance(zone, ZoneInfo):  # its offset depends on the date
        offset = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).utcoffset()
    else:
        offset = zone.utcoffset(None)
    return _bounded(total + micro - (offset or timedelta()) // timedelta(microseconds=1))


def _year(text: str) -> int:
    year = int(text)
    return year + (2000 if year < 69 else 1900) if len(text) == 2 else year


def _month_and_day(part: dict, layout: str, order: str) -> tuple[int, int]:
    get = part.get
    if layout == "numeric":
        a, b = int(part["a"]), int(part["b"])
        return (a, b) if order == MONTH_FIRST else (b, a)
    if layout == "quarter":
        return 3 * int(part["q"] or part["q2"]) - 2, 1
    if get("month"):
        return MONTHS[part["month"].casefold()], int(get("d") or 1)
    return int(get("m") or get("m2") or 1), int(get("d") or 1)


def _bounded(moment: int) -> int:
    low, high = ((date(y, 1, 1).toordinal() - EPOCH) * DAY for y in YEARS)
    if not low <= moment <= high + 366 * DAY:
        raise ValueError("a time is between the years 1 and 9999")
    return moment


@functools.lru_cache(256)
def zone_of(name: str) -> tzinfo:
    """Return the zone of a name such as ``PST``, ``Europe/Berlin`` or ``+05:30``.

    Raises
    ------
    TimeError
        If there is no such zone.
    """
    name = name.partition("(")[0].strip()
    if name in ZONES:
        return timezone(timedelta(hours=ZONES[name]))
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", name)
    if offset and int(offset[2]) < 15:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        known = ", ".join(sorted(ZONES)[:6])
        raise TimeError(
            f"{name!r} is no known zone; take a name such as {known}, Europe/Berlin or +02:00"
        ) from None


def iso(moment: int) -> str:
    """Return a moment (microseconds since 1970) as ISO 8601 in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).isoformat()
