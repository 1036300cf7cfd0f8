"""One notebook at many points: search space, workers, a Dask cluster."""
