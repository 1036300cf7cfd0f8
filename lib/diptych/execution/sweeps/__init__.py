"""One notebook at many points: search space, workers, Dask cluster."""
