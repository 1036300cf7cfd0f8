"""Tables that look like people's data: categories, gaps, dates, rare events, drift over time.

All three are generated here from stated rules, so that what a model can learn is known. The same
arguments give the same rows. See ``assets/datasheets/churn.md``, ``claims.md`` and ``demand.md``.
"""

from typing import Any

import numpy as np
import pandas as pd

CHURN_START, CHURN_MONTHS = "2023-01-01", 24
CHURN_SHIFT = 17  # months after the start: a rival's offer, and a new plan
CLAIM_SHARE = 0.015  # of policies
DEMAND_START = "2024-01-01"

PLANS = {"Basic": 29.0, "Plus": 45.0, "Family": 62.0, "Unlimited": 79.0}
NEW_PLAN = ("Flex", 39.0)
CONTRACTS = ("Month-to-month", "One year", "Two years")
PAYMENTS = ("Bank transfer (automatic)", "Credit card", "Mailed cheque", "Electronic cheque")
REGIONS = ("North", "South", "East", "West", "Islands")
MAKES = {
    "Alto": 0.1, "Breva": 0.0, "Cento": -0.1, "Dorado": 0.3, "Elan": 0.0, "Fjord": -0.2,
    "Gala": 0.2, "Halcyon": 0.5, "Iris": -0.1, "Junco": 0.0, "Kestrel": 0.4, "Lumen": -0.3,
}  # fmt: skip


def churn(rows: int = 6_000, seed: int = 0) -> pd.DataFrame:
    """Generate customers of a phone company and whether each left within three months.

    About a quarter leave. From month `CHURN_SHIFT` on a rival draws away those with a monthly
    contract, prices rise, and a plan appears that was not there before.

    Returns
    -------
    DataFrame
        ``customer_id``, ``snapshot_date``, ``signup_date``, ``plan``, ``contract``,
        ``payment_method``, ``region``, ``paperless_billing``, ``autopay`` (missing for one in
        12), ``monthly_charge``, ``data_used_gb`` (missing for one in 9), ``support_calls``,
        ``satisfaction`` (1 to 5, missing for four in ten) and the label ``churned`` (yes, no).
    """
    rng = np.random.default_rng([seed, 1])
    month = np.sort(rng.integers(0, CHURN_MONTHS, rows))
    shifted = month >= CHURN_SHIFT
    snapshot = _days(CHURN_START, np.ceil(month * 30.4) + rng.integers(0, 30, rows))
    tenure = np.minimum(rng.gamma(1.6, 14, rows), 90).round(1)  # months
    signup = snapshot - pd.to_timedelta((tenure * 30.4).astype(int), unit="D")
    plan = _choice(rng, list(PLANS), rows, (0.34, 0.31, 0.2, 0.15))
    plan = np.where(shifted & (rng.random(rows) < 0.3), NEW_PLAN[0], plan)
    price = pd.Series(plan).map(PLANS | dict([NEW_PLAN])).to_numpy()
    contract = _choice(rng, CONTRACTS, rows, (0.55, 0.25, 0.2))
    payment = _choice(rng, PAYMENTS, rows, (0.27, 0.28, 0.15, 0.3))
    charge = (price * rng.normal(1, 0.06, rows) * np.where(shifted, 1.12, 1)).round(2)
    calls = rng.poisson(np.where(contract == CONTRACTS[0], 1.3, 0.8))
    used = rng.gamma(2.0, price / 9).round(1)
    mood = 3.9 - 0.45 * calls + rng.normal(0, 0.9, rows)
    paperless = rng.random(rows) < 0.6
    autopay = np.isin(payment, PAYMENTS[:2]) ^ (rng.random(rows) < 0.08)
    score = (
        -1.2
        + _worth(contract, {CONTRACTS[0]: 0.9, CONTRACTS[1]: -0.6, CONTRACTS[2]: -1.7})
        + _worth(payment, {PAYMENTS[3]: 0.5, PAYMENTS[0]: -0.2})
        + _worth(plan, {"Family": -0.4, NEW_PLAN[0]: 0.5})
        - 0.035 * np.minimum(tenure, 48)
        + 0.03 * (charge - 45) / np.sqrt(1 + tenure / 12)
        + 0.35 * np.maximum(calls - 1, 0)
        - 0.35 * (mood - 3)
        - 0.3 * autopay
        + np.where(shifted & (contract == CONTRACTS[0]), 0.7, 0)
    )
    frame = pd.DataFrame(
        {
            "customer_id": _customers(rng, rows),
            "snapshot_date": snapshot,
            "signup_date": signup,
            "plan": plan,
            "contract": contract,
            "payment_method": payment,
            "region": _choice(rng, REGIONS, rows, (0.3, 0.25, 0.2, 0.2, 0.05)),
            "paperless_billing": pd.array(paperless, "boolean"),
            "autopay": _gaps(rng, pd.Series(autopay, dtype="boolean"), 1 / 12),
            "monthly_charge": charge,
            "data_used_gb": _gaps(rng, pd.Series(used), 1 / 9),
            "support_calls": calls,
            # the satisfied answer more often
            "satisfaction": _gaps(
                rng, pd.Series(np.clip(mood.round(), 1, 5)), np.where(mood > 3.5, 0.3, 0.5)
            ),
            "churned": np.where(_draw(rng, score), "yes", "no"),
        }
    )
    return _strings(frame)


def _customers(rng: np.random.Generator, rows: int) -> list[str]:
    return [f"C{x:06d}" for x in rng.permutation(np.arange(100_000, 100_000 + rows))]


def claims(rows: int = 12_000, seed: int = 0) -> pd.DataFrame:
    """Generate motor policies and whether a fraudulent claim was made: `CLAIM_SHARE` are.

    Returns
    -------
    DataFrame
        ``policy_id``, ``reported_at``, ``vehicle_make``, ``vehicle_age``, ``driver_age``,
        ``postcode`` (digits with leading zeros), ``channel``, ``claim_amount`` (missing for
        one in 20), ``days_to_report``, ``police_report`` (missing for one in 4), ``witnesses``,
        ``description`` (a short text) and the label ``fraud`` (yes, no).
    """
    rng = np.random.default_rng([seed, 2])
    seconds = np.sort(rng.integers(0, 366 * 86_400, rows))
    reported = _days("2024-01-01", seconds // 86_400) + pd.to_timedelta(seconds % 86_400, unit="s")
    make = _choice(rng, list(MAKES), rows)
    age = rng.integers(0, 19, rows)
    driver = np.clip(rng.normal(44, 15, rows), 18, 90).round().astype(int)
    postcode = rng.integers(1, 60, rows)
    channel = _choice(rng, ("agent", "phone", "web", "app"), rows, (0.3, 0.25, 0.25, 0.2))
    amount = np.exp(rng.normal(7.4, 0.9, rows)).round(2)
    delay = rng.geometric(0.22, rows) - 1
    police = rng.random(rows) < 0.55
    witnesses = rng.poisson(0.7, rows)
    damage = rng.integers(0, len(DAMAGES), rows)
    score = (
        _worth(make, MAKES)
        + 0.9 * (np.log(amount) - 7.4)
        + 0.12 * np.minimum(delay, 12)
        - 0.8 * police
        - 0.4 * witnesses
        + np.where(np.isin(postcode, (7, 23, 41)), 1.4, 0)
        + np.where(channel == "web", 0.6, 0)
        + np.where((driver < 27) & (amount > 3_000), 0.9, 0)
        + np.where(damage == len(DAMAGES) - 1, 1.1, 0)
    )
    fraud = _draw(rng, 1.4 * score + _level(1.4 * score, CLAIM_SHARE))
    frame = pd.DataFrame(
        {
            "policy_id": [f"P-{x:07d}" for x in rng.permutation(np.arange(rows)) + 1_000_000],
            "reported_at": reported,
            "vehicle_make": make,
            "vehicle_age": age,
            "driver_age": driver,
            "postcode": [f"{x * 137:05d}" for x in postcode],
            "channel": channel,
            "claim_amount": _gaps(rng, pd.Series(amount), 1 / 20),
            "days_to_report": delay,
            "police_report": _gaps(rng, pd.Series(police, dtype="boolean"), 1 / 4),
            "witnesses": witnesses,
            "description": [_description(rng, x) for x in damage],
            "fraud": np.where(fraud, "yes", "no"),
        }
    )
    return _strings(frame)


DAMAGES = (
    "scratch along the left door",
    "dent in the rear bumper",
    "broken front windscreen",
    "hail damage on the roof",
    "broken tail light",
    "vehicle stolen from the street",
)
WHEN = ("overnight", "in the morning", "at noon", "in the rain", "on Sunday", "during a storm")
WHO = ("no one was hurt", "driver unknown", "noticed later", "neighbour saw it", "no photos")
PLACES = ("while parked at home", "in a car park", "on the motorway", "at a crossing", "in town")


def demand(rows: int = 24 * 365, seed: int = 0) -> pd.DataFrame:
    """Generate the hourly number of rented bicycles of a town, one row an hour.

    It follows hour, weekday, season, weather and holidays; over a year it grows by a fifth. Of
    every hundred hours one lacks its weather.

    Returns
    -------
    DataFrame
        ``hour_start`` (UTC), ``temperature_c``, ``humidity_pct``, ``wind_kmh``, ``rain_mm``,
        ``weather``, ``holiday``, ``working_day`` and the target ``rentals`` (a whole number).
    """
    rng = np.random.default_rng([seed, 3])
    start = pd.date_range(DEMAND_START, periods=rows, freq="h", tz="UTC").as_unit("us")
    hour, day = start.hour.to_numpy(), start.day_of_year.to_numpy()
    season = np.cos(2 * np.pi * (day - 200) / 365)
    slow = _smooth(rng, rows, 72)  # weather lasts for days
    temperature = 11 + 10 * season + 4 * np.cos(2 * np.pi * (hour - 15) / 24) + 3 * slow
    humidity = np.clip(68 - 12 * season - 8 * slow + rng.normal(0, 5, rows), 20, 100)
    wet = _smooth(rng, rows, 8) + 0.02 * (humidity - 68)
    rain = np.where(wet > 1.1, rng.gamma(1.2, 1.4, rows), 0)
    wind = np.abs(12 + 5 * _smooth(rng, rows, 24) + rng.normal(0, 2, rows))
    holiday = np.isin(day, (1, 90, 121, 230, 305, 359, 360))
    working = (start.day_of_week < 5) & ~holiday
    commute = np.exp(-((hour - 8) ** 2) / 3) + 1.1 * np.exp(-((hour - 17.5) ** 2) / 5)
    leisure = 0.9 * np.exp(-((hour - 14) ** 2) / 18)
    shape = np.where(working, 1.2 * commute + 0.4 * leisure, 0.1 * commute + 1.1 * leisure) + 0.04
    level = 420 * (1 + 0.2 * np.arange(rows) / (24 * 365))
    comfort = np.exp(-((temperature - 22) ** 2) / 320) * np.exp(-0.25 * rain - 0.008 * wind)
    rentals = rng.negative_binomial(12, 12 / (12 + level * shape * comfort + 0.5))
    sky = np.select(
        [rain > 2.5, rain > 0, humidity > 72], ["heavy rain", "rain", "cloudy"], "clear"
    )
    lost = rng.random(rows) < 0.01
    frame = pd.DataFrame(
        {
            "hour_start": start,
            "temperature_c": np.where(lost, np.nan, temperature.round(1)),
            "humidity_pct": np.where(lost, np.nan, humidity.round()),
            "wind_kmh": np.where(lost, np.nan, wind.round(1)),
            "rain_mm": np.where(lost, np.nan, rain.round(1)),
            "weather": pd.Series(sky, dtype="str").mask(pd.Series(lost)),
            "holiday": pd.array(holiday, "boolean"),
            "working_day": pd.array(working, "boolean"),
            "rentals": rentals,
        }
    )
    return _strings(frame)


def _days(start: str, days: np.ndarray) -> pd.DatetimeIndex:
    """Return midnights (UTC) so many days after a date."""
    offsets = pd.to_timedelta(np.asarray(days).astype(int), unit="D")
    return (pd.Timestamp(start, tz="UTC") + offsets).as_unit("us")


def _choice(rng: Any, options: Any, rows: int, shares: Any = None) -> np.ndarray:
    return np.asarray(options, dtype=object)[rng.choice(len(options), rows, p=shares)]


def _worth(values: np.ndarray, weights: dict[str, float]) -> np.ndarray:
    return np.array([weights.get(value, 0.0) for value in values])


def _draw(rng: Any, score: np.ndarray) -> np.ndarray:
    """Draw an event with the log-odds `score`."""
    return rng.random(len(score)) < 1 / (1 + np.exp(-score))


def _level(score: np.ndarray, share: float) -> float:
    """Return what to add to log-odds so that on average `share` of events happen."""
    low, high = -60.0, 60.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if (1 / (1 + np.exp(-score - middle))).mean() < share else (low, middle)
        )
    return low


def _gaps(rng: Any, values: pd.Series, share: Any) -> pd.Series:
    """Return values with a share of them missing."""
    return values.mask(pd.Series(rng.random(len(values)) < share))


def _smooth(rng: Any, rows: int, hours: float) -> np.ndarray:
    """Return noise of deviation 1 that forgets itself over some hours (an AR(1) process)."""
    from scipy.signal import lfilter

    keep = np.exp(-1 / hours)
    return lfilter([np.sqrt(1 - keep**2)], [1, -keep], rng.standard_normal(rows))


def _description(rng: Any, damage: int) -> str:
    place, when, who = (words[rng.integers(len(words))] for words in (PLACES, WHEN, WHO))
    text = f"{DAMAGES[damage]} {place} {when}"
    return f"{who}, {text}" if rng.random() < 0.6 else text


def _strings(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns of objects are strings."""
    return frame.astype({name: "str" for name in frame if frame[name].dtype == object})
