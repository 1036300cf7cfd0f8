"""The local server of a language model (llama.cpp), its chat page, the store of models."""
