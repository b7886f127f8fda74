"""results.parquet: the values of results.csv, with types, for programs that read columns."""

import io
from collections.abc import Sequence

from reports.input import ResultLine
from reports.results_csv import COLUMNS


def results_parquet(values: Sequence[ResultLine]) -> bytes:
    """The values as Parquet: the columns and the order of results.csv; texts are dictionaries, seeds int64.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow
    from pyarrow import parquet

    ordered = sorted(values, key=lambda v: (v.row, v.axes, v.seed, v.branch, v.case, v.metric, v.unit))
    text = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    types = {"seed": pyarrow.int64(), "value": pyarrow.float64()}
    columns = {
        name: pyarrow.array([getattr(value, name) for value in ordered], types.get(name, pyarrow.string()))
        for name in COLUMNS
    }
    table = pyarrow.table({name: column if name in types else column.cast(text) for name, column in columns.items()})
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd")
    return out.getvalue()
