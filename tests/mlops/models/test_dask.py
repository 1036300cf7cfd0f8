"""XGBoost on a real Dask cluster finds what it finds here."""

import numpy as np
import pytest
import scipy.sparse
from dask_cluster import dask_cluster

from diptych.base.errors import ParameterError
from diptych.mlops.models.estimators import Boosted


@pytest.mark.long
def test_boosting_on_a_cluster_learns_what_boosting_here_learns(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 5)).astype(np.float32)
    codes = (rows[:, 0] + rows[:, 1] ** 2 > 1).astype(np.int64)
    here = Boosted(rounds=20, max_depth=3)
    here.fit(rows, codes, 2)
    with dask_cluster(tmp_path) as (address, _):
        for matrix in (rows, scipy.sparse.csr_matrix(rows)):
            there = Boosted(rounds=20, max_depth=3, dask=address)
            there.fit(matrix, codes, 2)
            agreed = there.predict_proba(rows).argmax(axis=1) == here.predict_proba(rows).argmax(1)
            assert agreed.mean() > 0.95
            assert (there.predict_proba(rows).argmax(axis=1) == codes).mean() > 0.95
    there.save(tmp_path)
    loaded = Boosted.load(tmp_path).predict_proba(rows)
    assert loaded == pytest.approx(there.predict_proba(rows), abs=1e-6)


def test_an_address_where_nobody_answers_is_named():
    with pytest.raises(ParameterError, match="--dask nobody: no scheduler answers"):
        Boosted(dask="nobody").fit(np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]), 2)
