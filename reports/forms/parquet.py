"""results.parquet: the values of results.csv, with types, for programs that read columns."""

import io
from collections.abc import Sequence

from reports.columns import Columns
from reports.comparable import VIOLATED, Violation, violated
from reports.results_csv import COLUMNS, CONTROLS


def results_parquet(values: Columns, found: Sequence[Violation] = ()) -> bytes:
    """The values as Parquet: the columns and the order of results.csv; texts are dictionaries, seeds int64.

    Args:
        values: in any order.
        found: controls that did not hold; with some, there is a column `controls`.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow
    from pyarrow import parquet

    ordered = values.in_order()
    columns = {}
    for name in COLUMNS[:-1]:
        column = getattr(ordered, name)
        names = pyarrow.array(column.names, pyarrow.int64() if name == "seed" else pyarrow.string())
        places = pyarrow.array(column.at, pyarrow.int32())
        coded = pyarrow.DictionaryArray.from_arrays(places, names)
        columns[name] = coded.dictionary_decode() if name == "seed" else coded
    columns[COLUMNS[-1]] = ordered.value
    if found:
        marks = [VIOLATED if one else "" for one in violated(found, ordered).tolist()]
        columns[CONTROLS] = pyarrow.array(marks).dictionary_encode()
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out, compression="zstd")
    return out.getvalue()
