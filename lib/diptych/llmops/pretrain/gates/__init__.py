"""What the language model is judged on, how that is measured, and the card that says so."""
