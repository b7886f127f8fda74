"""The branches absence and sensitivity, evaluated and judged on the smallest pool."""

from collections.abc import Mapping
from pathlib import Path

import made_pool
import numpy as np
import pytest

from workloads.data.pool import Pool
from workloads.evaluation import evaluate, judging
from workloads.evaluation.branches import absence, sensitivity
from workloads.evaluation.cases import Setting, batches, read_settings
from workloads.evaluation.finished import load_frames

F = 9


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return made_pool.make_inputs(tmp_path_factory.mktemp("inputs"))


def videos(out: Path) -> dict[str, np.ndarray]:
    settings = read_settings(out / "cases.json")
    return {s.id: load_frames(out / "frames", s) for s in settings}


def test_an_absence_has_the_same_first_frames_for_each_gap_and_comes_back(inputs: Mapping[str, Path]) -> None:
    pool = Pool.open(inputs["data"])
    found = absence.settings(pool, {**made_pool.BRANCHES["absence"], "gaps": [0, 2, 4]}, F)
    assert [setting.group for setting in found] == ["gap0"] * 2 + ["gap2"] * 2 + ["gap4"] * 2
    assert len({setting.scene for setting in found}) == 2
    for setting, gap in zip(found, (0, 0, 2, 2, 4, 4), strict=True):
        assert setting.id == f"worlds/{setting.scene}/0@gap{gap}"
        yaw = setting.poses.yaw_deg - setting.poses.yaw_deg[0]
        assert yaw[:: F - 1].tolist() == pytest.approx([0.0, 45.0, 90.0, *([60.0, 90.0] * (gap // 2)), 45.0, 0.0])
        away = yaw[2 * (F - 1) : (2 + gap) * (F - 1) + 1]
        assert away.min() >= 60.0 - 1e-9  # the source, 52.67 degrees wide, is never in sight
    assert [len(batch) for batch in batches(found, 8)] == [2, 2, 2]


def test_batches_are_of_one_group_and_those_without_groups_are_as_they_were(inputs: Mapping[str, Path]) -> None:
    plain = [Setting(f"worlds/s{i}/0", f"s{i}", 0, Pool.open(inputs["data"]).poses("open-00-0")) for i in range(5)]
    assert batches(plain, 2) == [plain[0:2], plain[2:4], plain[4:5]]


@pytest.mark.slow
def test_an_absence_is_evaluated_and_judged(inputs: Mapping[str, Path], tmp_path: Path) -> None:
    outcome = made_pool.run(evaluate, made_pool.evaluation(tmp_path / "evaluate", inputs, "absence"))
    assert outcome.steps == 4
    out = tmp_path / "evaluate/out"
    found = videos(out)
    shapes = (
        {len(video) for case, video in found.items() if case.endswith("@gap0")},
        {len(video) for case, video in found.items() if case.endswith("@gap2")},
    )
    assert shapes == ({4 * (F - 1) + 1}, {6 * (F - 1) + 1})
    for case in (case for case in found if case.endswith("@gap0")):  # the noise of a chunk is that of every gap
        same = 2 * (F - 1) + 1
        np.testing.assert_array_equal(found[case][:same], found[case.replace("@gap0", "@gap2")][:same])
    made_pool.run(judging, made_pool.judgement(tmp_path / "judge", inputs, "absence", out))
    judged = {line["case"] for line in made_pool.values(tmp_path / "judge/out")}
    measured = {line["case"] for line in made_pool.values(out)}
    assert judged <= measured == found.keys()


@pytest.mark.slow
def test_without_anything_wrong_a_sensitivity_has_the_bits_of_return(
    inputs: Mapping[str, Path], tmp_path: Path
) -> None:
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "return", inputs, "return"))
    made_pool.run(evaluate, made_pool.evaluation(tmp_path / "sensitivity", inputs, "sensitivity"))
    plain, found = videos(tmp_path / "return/out"), videos(tmp_path / "sensitivity/out")
    assert len(found) == 5 * len(plain)
    for case, video in plain.items():
        np.testing.assert_array_equal(found[f"{case}@{sensitivity.AS_IT_IS}"], video)
        for kind in made_pool.BRANCHES["sensitivity"]["perturb"]:
            other = found[f"{case}@{kind}"]
            np.testing.assert_array_equal(other[:F], video[:F])  # no history yet: nothing can be wrong with it
            # An untrained model's map of poses is 0: test_rollout.py looks at what it is given.
            assert np.array_equal(other[F:], video[F:]) == (kind == "pose"), kind
