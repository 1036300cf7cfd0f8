"""The right panel: the LLMOps lifecycle of a language model, in the words of the left one."""
