"""The local server of a language model (llama.cpp), its chat page, and the store of models by name."""
