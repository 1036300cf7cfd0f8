"""Settings to try: the defaults first, none twice, the same from the same scores."""

import math

import pytest

from diptych.mlops import build
from diptych.mlops.models.search import Range, Search


def run(space, trials, seed=0, score=lambda setting: 0.5):
    search, settings = Search(space, trials, seed), []
    while (setting := search.ask()) is not None:
        settings.append(setting)
        search.tell(setting, score(setting))
    return settings


@pytest.mark.parametrize("family", build.SPACE)
@pytest.mark.parametrize("typed", [False, True])
def test_a_search_is_seeded_and_starts_with_the_defaults(family, typed):
    space = build.space(family, typed)
    settings = run(space, 8, seed=1)
    assert settings == run(space, 8, seed=1)
    assert run(space, 3, seed=1) == settings[:3]
    defaults = {n: v.default if isinstance(v, Range) else v[0] for n, v in space.items()}
    assert settings[0] == defaults
    assert len({str(setting) for setting in settings}) == len(settings) == (8 if space else 1)


def test_numbers_stay_in_their_range_and_whole_where_the_default_is():
    space = {"a": Range(1.0, 0.5, 2.0), "b": Range(3, 1, 9), "c": ["x", "y"]}
    for setting in run(space, 30):
        assert 0.5 <= setting["a"] <= 2
        assert setting["b"] in range(1, 10)
        assert setting["c"] in "xy"


def test_another_seed_draws_other_settings():
    space = build.space("xgboost")
    assert run(space, 5, seed=1)[1:] != run(space, 5, seed=2)[1:]


def test_a_small_space_ends_when_all_was_tried():
    assert len(run({"a": [1, 2], "b": [3, 4]}, 50)) == 4
    assert len(run({"a": Range(2, 1, 3)}, 50)) == 3


def test_scores_draw_the_search_to_better_settings():
    space = {"a": Range(100.0, 0.01, 100.0)}

    def score(setting):
        return -abs(math.log10(setting["a"]))

    settings = run(space, 40, score=score)
    late = [score(setting) for setting in settings[20:]]
    assert sum(late) / len(late) > sum(map(score, settings[:10])) / 10
    assert max(map(score, settings)) > -0.1


def test_a_setting_that_failed_is_not_tried_again():
    space = {"a": Range(3, 1, 6)}
    settings = run(space, 6, score=lambda setting: math.nan if setting["a"] > 2 else 0.5)
    assert sorted(setting["a"] for setting in settings) == [1, 2, 3, 4, 5, 6]
