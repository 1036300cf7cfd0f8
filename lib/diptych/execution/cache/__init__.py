"""Whether a run can be linked instead of repeated: fingerprint, dependencies, inputs, entries."""
