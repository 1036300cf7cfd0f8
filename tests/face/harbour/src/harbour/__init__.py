"""What a harbour office adds to Diptych."""
