# ruff: noqa: D100, F821
# %% 1. Warm-up: which families a prompt fails that always gives the same answer
answer = "Change"
hints = {"same": "Does its answer to a text with an order in it differ?"}
exercises.choice(answer, "change", hints=hints)

# %% 2. Code: a test that only a prompt which reads the text can pass
texts = checked.loc[checked["passed"] & (checked["family"] == "negation"), ["original", "text"]]
attempt = checklist.case(texts.iloc[0].tolist(), checklist.OTHER)
exercises.code(attempt, lambda case: checklist.tells(case, candidate, options))
