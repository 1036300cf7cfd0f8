# ruff: noqa: D100, F821
# %% 1. Warm-up: the loss of one label in bits
answer = -math.log(0.9) / math.log(2)
exercises.number(answer, -math.log2(0.9), hint="A nat is 1 / ln 2 bits.")
