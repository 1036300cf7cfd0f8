"""What every storey stands on: workspace, hashes, environment, errors, secrets, progress."""
