"""From a row to its mechanism: one line a family, one file a family."""

from workloads.memory.compress import Compressed
from workloads.memory.context import RawContext
from workloads.memory.interface import Mechanism, Sizes
from workloads.memory.spatial import SpatialStore
from workloads.memory.ssm import StateSpace
from workloads.runtime.errors import BadInput
from workloads.study.rows import Bound, Compress, Context, Row, Spatial, Ssm


def make_mechanism(row: Row, sizes: Sizes) -> Mechanism:
    """The mechanism of `row`, its parameters not yet started.

    Raises:
        KeyError: the backbone's section lacks a control that the row reads.
        BadInput: a row without a mechanism.
    """
    match row:
        case Context():
            return RawContext(row, sizes)
        case Compress():
            return Compressed(row, sizes)
        case Spatial():
            return SpatialStore(row, sizes)
        case Ssm():
            return StateSpace(row, sizes)
        case Bound():
            raise BadInput("memory row: family bound shows known frames and has no mechanism; it cannot generate")
