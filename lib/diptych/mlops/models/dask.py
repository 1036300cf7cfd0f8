"""XGBoost on a Dask cluster: each worker holds a share of the rows and the histograms of it.

The rows are cut into as many blocks as there are workers and sent to them; from then on only
histograms travel (Chen and Guestrin 2016, section 6.3). The notebook still reads the rows once:
what no longer has to fit on one machine is XGBoost's copy of them and its working memory.
"""

import numpy as np

from diptych.mlops.models.columns import coded


def train(address: str, parameters: dict, matrix, codes: np.ndarray, rounds: int):
    """Fit a booster on the workers of a cluster.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.
    parameters : dict
        XGBoost's.
    matrix : array or CSR matrix, shape (n, features)
    codes : array of int, shape (n,)

    Returns
    -------
    xgboost.Booster

    Raises
    ------
    ParameterError
        If no scheduler answers there, or it has no workers.
    """
    from xgboost import dask as distributed_xgboost

    from diptych.base.errors import ParameterError
    from diptych.execution.sweeps.dask import connect

    with connect(address) as client, client.as_current():
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ParameterError(f"dask = {address}: it has no workers. Start one: dask worker.")
        rows, labels = _blocks(client, matrix, codes, workers)
        data = distributed_xgboost.DaskDMatrix(client, rows, labels, **coded(matrix))
        return distributed_xgboost.train(client, parameters, data, rounds)["booster"]


def _blocks(client, matrix, codes: np.ndarray, workers: list[str]):
    """Return rows and labels as Dask arrays, one block on each worker."""
    import dask.array

    edges = np.linspace(0, matrix.shape[0], min(len(workers), matrix.shape[0]) + 1).astype(int)
    rows, labels = [], []
    for worker, start, end in zip(workers, edges[:-1], edges[1:], strict=False):
        part, target = client.scatter([matrix[start:end], codes[start:end]], workers=[worker])
        shape = (int(end - start), matrix.shape[1])
        rows.append(dask.array.from_delayed(part, shape, dtype=matrix.dtype, meta=matrix[:0]))
        labels.append(dask.array.from_delayed(target, shape[:1], dtype=codes.dtype))
    return dask.array.concatenate(rows), dask.array.concatenate(labels)
