"""What of write, address and read cannot be combined, and what is said then."""

from typing import Any

import pytest

from workloads.contract.rows import RowError
from workloads.study.memory.families import row_from

CONTEXT = {"family": "context", "frames": 5}
COMPRESS = {"family": "compress", "ratio": 2}
GRID = {"family": "spatial", "write": "grid", "read": "text"}
CELLS = {"family": "spatial", "write": "cells", "read": "text", "address": "bearing"}
HYBRID = {"family": "ssm", "kernel": 3, "expand": 2}
BLOCKWISE = {"family": "ssm", "tau": (1.0, 128.0), "rho": (0.1, 0.2)}
MATRIX = {"family": "ssm", "state": "matrix", "tau": (16.0, 128.0)}

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (
        CONTEXT | {"address": "compass"},
        "address",
        "address is 'compass'; allowed: bearing, depths, learned, none, place, ray",
    ),
    (
        CONTEXT | {"address": "place"},
        "address",
        "address: place finds nothing in what write tokens keeps; allowed with it: bearing, depths, none, ray",
    ),
    (
        COMPRESS | {"address": "learned"},
        "address",
        "address: learned finds nothing in what write pooled keeps; allowed with it: bearing, depths, none, ray",
    ),
    (
        GRID | {"address": "place"},
        "address",
        "address: place finds nothing in what write grid keeps; allowed with it: none",
    ),
    (
        CELLS | {"address": "none"},
        "address",
        "address: none finds nothing in what write cells keeps; allowed with it: bearing",
    ),
    (
        CELLS | {"address": "place"},
        "address",
        "address: place finds nothing in what write cells keeps; allowed with it: bearing",
    ),
    (
        HYBRID | {"address": "bearing"},
        "address",
        "address: bearing finds nothing in what write convolution keeps; allowed with it: none, place",
    ),
    (
        BLOCKWISE | {"address": "bearing"},
        "address",
        "address: bearing finds nothing in what write diagonal keeps; allowed with it: none, place",
    ),
    (
        MATRIX | {"address": "place"},
        "address",
        "address: place finds nothing in what write matrix keeps; allowed with it: bearing, learned, none",
    ),
    (GRID | {"read": "none", "address": "bearing"}, "address", "address: bearing finds nothing, for read is none"),
    *[
        (row | {"yaw": False}, "yaw", "yaw: false changes nothing, for address is none; give the row an address")
        for row in (CONTEXT, COMPRESS, GRID, GRID | {"read": "none"}, HYBRID, BLOCKWISE, MATRIX)
    ],
    (GRID | {"cells": (4, 28)}, "cells", "cells is [4, 28], but write is grid; allowed: with write: cells"),
    (BLOCKWISE | {"cells": (4, 28)}, "cells", "cells is [4, 28], but address is none; allowed: with address: place"),
    (
        MATRIX | {"address": "bearing", "cells": (4, 28)},
        "cells",
        "cells is [4, 28], but address is bearing; allowed: with address: place",
    ),
    (
        CELLS | {"cells": (0, 28)},
        "cells",
        "cells is [0, 28]; allowed: rows (1 and more) and cells of a row (2 and more)",
    ),
    (
        CELLS | {"cells": (8, 1)},
        "cells",
        "cells is [8, 1]; allowed: rows (1 and more) and cells of a row (2 and more)",
    ),
    (
        GRID | {"write": "none"},
        "read",
        "read: text reads nothing, for write is none; allowed: write: grid or cells, or read: none",
    ),
    (HYBRID | {"state": "matrix"}, "state", "state: matrix takes tau alone; leave out kernel, expand and rho"),
    (BLOCKWISE | {"state": "delta"}, "state", "state: delta takes tau alone; leave out kernel, expand and rho"),
    (
        {"family": "ssm", "state": "delta"},
        "tau",
        "state: delta needs tau: two numbers above 0, the smaller first",
    ),
    (
        MATRIX | {"tau": (128.0, 16.0)},
        "tau",
        "state: matrix needs tau: two numbers above 0, the smaller first",
    ),
    (BLOCKWISE | {"context": 0}, "context", "context is 0; allowed: 1 (the anchor alone) and more"),
]


@pytest.mark.parametrize(("parameters", "key", "said"), REFUSED)
def test_what_cannot_be_combined_is_refused_with_the_reason(parameters: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(RowError) as refused:
        row_from(parameters)
    assert refused.value.key == key
    assert said in str(refused.value).replace("azimuth, ", "")  # of the tutorial, if another test declared it
