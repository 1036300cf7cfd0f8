"""Prices come with the package that holds them, and say of what day and after which page."""

import re
from datetime import UTC, datetime

import pytest

from diptych.core.store.prices import FREE, Price, dated


def test_a_call_costs_its_tokens():
    price = Price("openai", "gpt-4o")
    facts = price.facts()
    each = facts["input_usd"] * 1000 + facts["output_usd"] * 200
    assert price.usd(1000, 200) == pytest.approx(each / 1e6)
    assert Price(FREE, "any").usd(10, 10) == 0
    assert Price("", "any").usd(10, 10) is None
    assert Price("openai", "no-such-model").usd(10, 10) is None


def test_prices_name_the_provider_s_page_and_their_day():
    assert Price("openai", "gpt-4o").page().startswith("https://")
    assert Price(FREE, "any").page() == ""
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", dated())
    assert dated() <= f"{datetime.now(UTC):%Y-%m-%d}"
