"""Whether a run can be linked: its fingerprint, what it depends on, entries."""
