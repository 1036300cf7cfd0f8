"""How a call can end, as the wire tells it; what can be read of its answer is another matter."""

ANSWERED = "answered"
CUT = "cut"  # it reached the limit of tokens
REFUSED = "refused"  # by the model
FILTERED = "filtered"  # by the provider
TOOL_CALL = "tool call"
EMPTY = "empty"
FAILED = "failed"  # no answer, or not a whole one
OUTCOMES = (ANSWERED, CUT, REFUSED, FILTERED, TOOL_CALL, EMPTY, FAILED)
