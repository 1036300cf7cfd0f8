import pytest

from diptych.core.data.readers import parse_options
from diptych.core.data.sources import DataError


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("separator=; decimal=, header=no", {"separator": ";", "decimal": ",", "header": "no"}),
        ("separator=tab quote=none", {"separator": "\t", "quote": "none"}),
        ('quote=" thousands=space', {"quote": '"', "thousands": " "}),
        ("quote=' thousands=none", {"quote": "'", "thousands": ""}),
        ("  sheet='My data'  skip_rows=3", {"sheet": "My data", "skip_rows": "3"}),
        ("table=t query=select a from t where x = 1",
         {"table": "t", "query": "select a from t where x = 1"}),
        ('zone=Europe/Berlin "kinds=post code:category,a, b:drop"',
         {"zone": "Europe/Berlin", "kinds": "post code:category,a, b:drop", "leave_out": "a, b"}),
        ("kinds={zip:category} percent=fraction",
         {"kinds": "{zip:category}", "percent": "fraction"}),
        ('"labels=0:not good,1:good"', {"labels": "0:not good,1:good"}),
        ('query="select 1" missing=-,k.A.', {"query": "select 1", "missing": "-,k.A."}),
    ],
)  # fmt: skip
def test_what_is_said_is_understood(text, options):
    assert parse_options(text) == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seperator=;", "Did you mean separator"),
        ("colour=red", "The options are separator, quote"),
        ("header", "not written as name=value"),
        ("header=maybe", "give yes or no"),
        ("decimal=;", "the decimal mark"),
        ("separator=ab", "what stands between fields"),
        ("skip_rows=-1", "how many lines"),
        ("encoding=klingon", "such as utf-8"),
        ("zone=Nowhere", "no known zone"),
        ("kinds=zip", "write column:kind"),
        ("kinds=zip:integer", "one of number, boolean"),
        ("kinds=zip:number,zip:text", "names 'zip' twice"),
        ("labels=1", "write value:name"),
        ("labels=1:,0:no", "write value:name"),
        ("labels=1:good,1:bad", "names '1' twice"),
        ("header=no header=yes", "given twice"),
        ("decimal=, thousands=,", "both ','"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(DataError, match="^read_options: .*" + message):
        parse_options(text)
