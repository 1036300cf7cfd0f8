# ruff: noqa: D100, F821
# %% 1. Warm-up: how many of the test rows does the selected prompt get wrong?
answer = len(of_champion) - int(of_champion["correct"].sum())
exercises.number(answer, int((~of_champion["correct"]).sum()), tolerance=0)

# %% 2. Open end: a prompt that is as good as the selected one
attempt = "Classify the sentiment of this review as positive or negative.\n{text}"
exercises.code(attempt, lambda text: build.rivals(text, leaderboard, tried, valid, options))
