import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.data import draws
from workloads.data.geometry import overlap
from workloads.data.index import Index
from workloads.data.order import segments_of
from workloads.data.pool import Pool
from workloads.data.poses import Poses
from workloads.runtime.errors import BadInput

Make = Callable[..., Index]


@pytest.fixture
def make(stage: Callable[..., Any], sections: dict[str, Any], pool_folder: Path) -> Make:
    def index(seed: int = 0, **changes: Any) -> Index:
        config = {n: {**sections[n], **changes.get(n, {})} for n in ("data", "codec", "evidence", "training")}
        return Index.open(stage("index", config, inputs={"data": str(pool_folder)}, seed=seed)[0])

    return index


def listed(index: Index) -> list[Any]:
    return [index.sample(step, i) for step in range(index.steps) for i in range(index.batch)]


def test_one_seed_gives_one_order_and_another_seed_another(make: Make) -> None:
    one, again, other = make(), make(), make(seed=1)
    assert listed(one) == listed(again)
    assert one.digest() == again.digest()
    assert one.digest()["sample_order"] != other.digest()["sample_order"]
    assert one.digest()["drops"] != other.digest()["drops"]
    assert one.digest()["candidates"] == other.digest()["candidates"]


def test_looking_at_scenes_side_by_side_changes_no_byte(
    stage: Callable[..., Any], sections: dict[str, Any], pool_folder: Path
) -> None:
    inputs = {"data": str(pool_folder)}
    alone, together = (stage("index", sections, inputs=inputs, threads=threads)[0] for threads in (1, 3))
    names = sorted(path.name for path in alone.iterdir())
    assert names and names == sorted(path.name for path in together.iterdir())
    assert all((alone / name).read_bytes() == (together / name).read_bytes() for name in names)


def test_a_longer_training_begins_like_a_shorter_one(make: Make) -> None:
    short, long = make(), make(training={"steps": 60})
    assert listed(long)[: len(listed(short))] == listed(short)


def test_a_larger_batch_keeps_the_samples_of_a_smaller_one(make: Make) -> None:
    small, large = make(), make(training={"global_batch": 6})
    assert all(large.sample(s, i) == small.sample(s, i) for s in range(small.steps) for i in range(small.batch))


def test_the_drop_rate_changes_drops_and_nothing_else(make: Make) -> None:
    never, always = make(evidence={"drop": 0.0}), make(evidence={"drop": 1.0})
    assert not any(s.dropped for s in listed(never))
    assert all(s.dropped for s in listed(always))
    assert never.digest()["sample_order"] == always.digest()["sample_order"]
    share = np.mean([s.dropped for s in listed(make())])
    assert abs(share - 0.25) < 0.12


def test_segments_lie_inside_training_scenes(make: Make, pool_folder: Path) -> None:
    index, pool = make(), Pool.open(pool_folder)
    for sample in listed(index):
        assert sample.scene in pool.scenes("train")
        assert 0 <= sample.start <= pool.length(sample.scene) - 5
    assert index.starts("train-0000") == tuple(range(13))


def returning(poses: Poses, start: int, end: int) -> float:
    """The definition, spelled out."""
    if start == 0:
        return 0.0
    shared = overlap(poses, poses)
    return float(np.mean([max(shared[i, j] for j in range(start)) for i in range(start, end + 1)]))


def test_returning_is_the_mean_best_overlap_with_frames_before_the_segment(pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)
    poses = pool.poses("train-0001")
    segments = segments_of(poses, 5, 0.3)
    for n, start in enumerate(segments.starts.tolist()):
        assert segments.returning[n] == pytest.approx(returning(poses, start, start + 4))
    # The last chunk goes back over known ground; only its first frame, the turning point, was not seen before.
    assert segments.returning[-1] >= 0.8


def test_a_long_scene_is_looked_at_in_blocks_with_equal_results() -> None:
    def wandering(name: str, frames: int, reach_m: float) -> Poses:
        steps = np.cumsum(draws.normal((frames, 2), "test", name).astype(np.float64), axis=0) * reach_m
        turns = np.cumsum(draws.normal((frames,), "test", name, "yaw").astype(np.float64)) * 8
        return Poses(np.concatenate([steps, np.zeros((frames, 1))], axis=1), turns)

    for poses in (wandering("near", 60, 0.2), wandering("far", 90, 4.0), wandering("still", 40, 0.0)):
        for time_factor in (1, 4):
            whole = segments_of(poses, 9, 0.3, time_factor, block=len(poses))
            shared = overlap(poses, poses)
            for block in (1, 7, 16):
                parts = segments_of(poses, 9, 0.3, time_factor, block=block)
                assert np.array_equal(parts.starts, whole.starts)
                assert np.array_equal(parts.returning, whole.returning)
                for one, other in zip(parts.candidates, whole.candidates, strict=True):
                    assert np.array_equal(one.indices, other.indices)
                    assert np.array_equal(one.overlaps, other.overlaps)
            for start, found in zip(whole.starts.tolist(), whole.candidates, strict=True):
                middle = shared[:start, start + 4]
                assert np.array_equal(found.indices, np.flatnonzero(middle >= 0.3))
                assert np.array_equal(found.overlaps, middle[middle >= 0.3])


def test_segments_start_at_multiples_of_the_codecs_time_factor(make: Make) -> None:
    assert make(codec={"kind": "wan"}).starts("train-0000") == (0, 4, 8, 12)
    with pytest.raises(BadInput, match=r"controls\.data\.chunk_frames is 7.*allowed: 1 \+ a multiple of 4, such as 5"):
        make(codec={"kind": "wan"}, data={"chunk_frames": 7})


def test_returning_segments_are_drawn_as_often_as_asked(make: Make, pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)

    def share(index: Index) -> float:
        found = [returning(pool.poses(s.scene), s.start, s.start + 4) >= 0.8 for s in listed(index)]
        return float(np.mean(found))

    assert share(make(data={"returning_share": 1.0})) == 1.0
    by_chance = share(make(data={"returning_share": 0.0}))
    assert by_chance < 0.8
    assert share(make(data={"returning_share": 0.5})) > by_chance


def test_digests_name_what_was_drawn(stage: Callable[..., Any], sections: dict[str, Any], pool_folder: Path) -> None:
    config = {name: sections[name] for name in ("data", "codec", "evidence", "training")}
    out, outcome = stage("index", config, inputs={"data": str(pool_folder)})
    digests = Index.open(out).digest()
    assert set(digests) == {"sample_order", "drops", "candidates"}
    assert {name: outcome.records[name] for name in digests} == digests
    assert all(len(d) == len(hashlib.sha256().hexdigest()) for d in digests.values())


def test_an_index_that_cannot_be_is_refused(make: Make) -> None:
    with pytest.raises(BadInput, match=r"controls\.data\.returning_overlap is 1\.5"):
        make(data={"returning_overlap": 1.5})
    with pytest.raises(BadInput, match=r"controls\.data\.chunk_frames is 99"):
        make(data={"chunk_frames": 99})
    with pytest.raises(BadInput, match=r"controls\.evidence\.rule is 'old'"):
        make(evidence={"rule": "old"})
    index = make()
    with pytest.raises(IndexError, match="there are 50 steps of 4"):
        index.sample(50, 0)
