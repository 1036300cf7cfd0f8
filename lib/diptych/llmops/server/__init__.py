"""The local server of a language model (llama.cpp) and its chat page."""
