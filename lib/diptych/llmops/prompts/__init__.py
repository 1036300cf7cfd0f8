"""Prompts as files, their variants, the released bundle, candidates of a search."""
