"""What both panels turn on: tasks, versions, records, statistics, gate, drift, plots."""
