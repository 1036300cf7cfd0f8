"""What MLOps and LLMOps share: tasks, versions, records, statistics, gate, drift, plots."""
