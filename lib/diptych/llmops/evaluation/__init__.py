"""Grade answers: scorers, LLM judge, structured output, behavioural tests, prompt search."""
