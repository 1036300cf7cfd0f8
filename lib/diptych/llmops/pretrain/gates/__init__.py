"""Gates of the language model: suites of questions, their measurement, the model card."""
