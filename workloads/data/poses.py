"""Camera poses: where the camera stands and where it looks, one per frame (study.md section 2, Geometry)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

METRES_PER_CENTIMETRE = 0.01  # Unreal's positions are centimetres


@dataclass(frozen=True)
class Poses:
    """Poses of `t` frames in world axes (X forward at yaw 0, Y right, Z up).

    Raises:
        ValueError: shapes that do not belong together.
    """

    positions_m: npt.NDArray[np.float64]
    """(t, 3), metres."""
    yaw_deg: npt.NDArray[np.float64]
    """(t,), degrees, positive towards +Y (right); not wrapped."""

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions_m, dtype=np.float64)
        yaw = np.asarray(self.yaw_deg, dtype=np.float64)
        if positions.ndim != 2 or positions.shape[1] != 3 or yaw.shape != positions.shape[:1]:
            raise ValueError(f"poses need positions (t, 3) and yaw (t,), got {positions.shape} and {yaw.shape}")
        object.__setattr__(self, "positions_m", positions)
        object.__setattr__(self, "yaw_deg", yaw)

    def __len__(self) -> int:
        return len(self.yaw_deg)

    def __getitem__(self, indices: int | slice | Sequence[int] | npt.NDArray[np.int64]) -> "Poses":
        """The poses at `indices`; an int gives a single pose, still with its time axis."""
        if isinstance(indices, int | np.integer):
            at = int(indices)
            if not -len(self) <= at < len(self):
                raise IndexError(f"pose {at} of {len(self)}")
            at %= len(self)
            indices = slice(at, at + 1)
        elif not isinstance(indices, slice):
            indices = np.asarray(indices, dtype=np.int64)
        return Poses(self.positions_m[indices], self.yaw_deg[indices])

    @staticmethod
    def concatenate(parts: Sequence["Poses"]) -> "Poses":
        """One after the other, in time."""
        return Poses(np.concatenate([p.positions_m for p in parts]), np.concatenate([p.yaw_deg for p in parts]))

    def array(self) -> npt.NDArray[np.float64]:
        """(t, 4): x, y, z in metres and yaw in degrees, for files."""
        return np.concatenate([self.positions_m, self.yaw_deg[:, None]], axis=1)

    @staticmethod
    def from_array(values: npt.NDArray[np.float64]) -> "Poses":
        """The inverse of `array`."""
        return Poses(values[:, :3], values[:, 3])

    @staticmethod
    def from_centimetres(positions_cm: npt.NDArray[np.float64], yaw_deg: npt.NDArray[np.float64]) -> "Poses":
        """Poses of Unreal positions (t, 3) in centimetres; writer and reader share it, so both get the same bits."""
        return Poses(np.asarray(positions_cm, dtype=np.float64) * METRES_PER_CENTIMETRE, yaw_deg)
