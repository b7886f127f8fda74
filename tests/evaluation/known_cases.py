"""What is known of a case in a rendered world, for tests of adversaries and of the camera's measure."""

from workloads.data.trajectories import turning
from workloads.data.worlds import World
from workloads.evaluation.adversaries import Known


def known_in(world: World, other: World, turns: tuple[float, ...], chunk_frames: int) -> Known:
    """A case that starts where the world's camera does and turns by `turns`, a chunk for each."""
    poses = turning(world.first_pose, turns, chunk_frames)
    truth = world.frames(poses)
    return Known(
        source=truth[0],
        poses=poses,
        chunk_frames=chunk_frames,
        truth=truth,
        world=world,
        other=other,
        other_pose=other.first_pose,
    )
