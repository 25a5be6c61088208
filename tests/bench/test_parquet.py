"""Arrow columns as numpy arrays and rows, as pyarrow itself would give them."""

import numpy as np
import pyarrow as pa
import pytest

from xai.bench.data.parquet import rows_of, to_numpy

COLUMNS = {
    "numbers": pa.array([1.5, float("nan"), -3.0]),
    "whole": pa.array([1, 2, 3], pa.int64()),
    "codes": pa.array([0, 1, 0], pa.int32()),
    "truth": pa.array([True, False, True]),
    "gaps": pa.array([1.5, None, 2.5]),
    "whole with gaps": pa.array([1, None, 2]),
    "truth with gaps": pa.array([True, None, False]),
    "none": pa.array([], pa.float64()),
    "no truth": pa.array([], pa.bool_()),
    "of a slice": pa.array([1.0, 2.0, 3.0]).slice(1),
    "truth of a slice": pa.array([True, False, False, True]).slice(1),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_arrays_are_those_of_pyarrow(name):
    ours, theirs = to_numpy(COLUMNS[name]), COLUMNS[name].to_numpy(zero_copy_only=False)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("places", [[], [2], [2, 0, 0]])
def test_rows_are_those_asked_for(places):
    table = pa.table({"name": ["a", "b", "c"], "curve": [[1.0], [], None]})
    assert rows_of(table, np.array(places, int)) == [table.to_pylist()[place] for place in places]
