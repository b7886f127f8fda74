"""Whatever is written into matrix.yaml, cluster/*.yaml or an override: a plan, or a sentence with place and problem.

`ECHO_MATRIX_FUZZ=5000` looks longer, as `make test-long` does.
"""

import copy
import os
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nasty import KEYS, PIECES, SCALARS, SECRET, VARIABLE, mutated, text_of, torn, tree_of

from orchestrator.backends.registry import backends
from orchestrator.errors import OrchestratorError
from orchestrator.opening import open_study
from orchestrator.plan.select import select
from orchestrator.spec.cluster import load_cluster
from orchestrator.study import Study
from workloads.study.workload import WORKLOAD

ROOT = Path(__file__).parent.parent.parent
MATRIX = (ROOT / "matrix.yaml").read_text(encoding="utf-8")
CLUSTER = (ROOT / "tests" / "spec" / "every_key.yaml").read_text(encoding="utf-8")
TREE = tree_of(yaml.safe_load(MATRIX))
CLUSTER_TREE = tree_of(yaml.safe_load(CLUSTER))
LONGEST_MESSAGE = 4000
PATIENCE_S = 60.0  # of one reading; far above what any takes, below what a person would call hanging

EXAMPLES = int(os.environ.get("ECHO_MATRIX_FUZZ", "50"))
often = settings(
    max_examples=EXAMPLES,
    derandomize="ECHO_MATRIX_FUZZ_SEED" not in os.environ,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
seeds = st.integers(0, 2**32)
pytestmark = pytest.mark.timeout(600 + 2 * EXAMPLES)


@pytest.fixture(scope="module", autouse=True)
def planted() -> None:
    os.environ[VARIABLE] = SECRET


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped matrix."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "whole.yaml").write_text(MATRIX, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Study:
    """The shipped study, opened."""
    return open_study(place / "whole.yaml")


def look(
    matrix: Path, *, cluster: Path | None = None, overrides: Sequence[str] = (), profile: str = "laptop"
) -> Study | str:
    """The opened study, or the sentence that refuses it; anything else that is raised fails the test."""
    began = time.monotonic()
    try:
        study = open_study(matrix, cluster=cluster, overrides=overrides, profile=profile)
    except OrchestratorError as error:
        return sentence_of(error, matrix.parent)
    finally:
        assert time.monotonic() - began < PATIENCE_S
    assert SECRET not in repr(study.plan.cells) + repr(study.cluster)
    return study


def sentence_of(error: OrchestratorError, folder: Path) -> str:
    """What a refusal says: place and problem, and no secret."""
    message = str(error)
    assert error.exit_code == 2
    assert len(message) < LONGEST_MESSAGE
    assert message.isprintable()
    assert re.match(rf"({re.escape(str(folder))}/|command line|cells? |--)", message), message
    assert SECRET not in message
    return message


def test_what_is_shipped_survives_the_way_the_fuzz_writes_it(place: Path, whole: Study) -> None:
    path = place / "again.yaml"
    path.write_text(text_of(TREE), encoding="utf-8")
    again = look(path)
    assert isinstance(again, Study)
    assert [cell.fingerprint for cell in again.plan.cells] == [cell.fingerprint for cell in whole.plan.cells]


@often
@given(seed=seeds, changes=st.integers(1, 4))
def test_a_matrix_with_changed_keys_and_values_is_a_plan_or_one_sentence(place: Path, seed: int, changes: int) -> None:
    chance = random.Random(seed)
    tree = copy.deepcopy(TREE)
    for _ in range(changes):
        mutated(tree, chance)
    path = place / "matrix.yaml"
    path.write_text(text_of(tree), encoding="utf-8")
    look(path)


@often
@given(seed=seeds, changes=st.integers(1, 3))
def test_a_matrix_torn_anywhere_is_a_plan_or_one_sentence(place: Path, seed: int, changes: int) -> None:
    chance = random.Random(seed)
    content = MATRIX.encode("utf-8")
    for _ in range(changes):
        content = torn(content.decode("utf-8", errors="replace"), chance)
    path = place / "torn.yaml"
    path.write_bytes(content)
    look(path)


@often
@given(seed=seeds, changes=st.integers(1, 3), whole=st.booleans())
def test_a_changed_cluster_file_is_a_cluster_or_one_sentence(place: Path, seed: int, changes: int, whole: bool) -> None:
    chance = random.Random(seed)
    path = place / "cluster.yaml"
    if whole:
        tree = copy.deepcopy(CLUSTER_TREE)
        for _ in range(changes):
            mutated(tree, chance)
        path.write_text(text_of(tree), encoding="utf-8")
    else:
        path.write_bytes(torn(CLUSTER, chance))
    look(place / "whole.yaml", cluster=path)


PATHS = (
    *("seeds", "controls.training.steps", "controls.training", "controls.sampler.negative", "memory.spatial.read"),
    *("memory.context-k5.frames", "memory.ssm-blockwise.tau", "memory..x", "axes.values", "axes.x.values", "controls."),
    *("resources.train.devices", "branches.loop.turns_deg", "controls.judge.models", "", ".", "steps", "controls..x"),
    *("memory.compress-weight.decay", "controls.data.height", "resources.train.minutes", "profiles.laptop.seeds"),
)


@often
@given(
    given=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(PATHS + KEYS), st.sampled_from(SCALARS)).map("=".join),
            st.tuples(st.sampled_from(PATHS), st.text(max_size=12)).map("=".join),
            st.text(max_size=20),
            st.sampled_from(PIECES),
        ),
        max_size=3,
    )
)
def test_overrides_of_any_text_are_a_plan_or_one_sentence(place: Path, given: list[str]) -> None:
    look(place / "whole.yaml", overrides=given)


SETTINGS = (
    *(
        "slurm.every.partition",
        "slurm.stages.train.minutes",
        "slurm.pilot",
        "slurm.pilot.cpus",
        "slurm.every",
        "grace_s",
    ),
    *("backend", "store.kind", "deepspeed.zero_optimization.stage", "paths.pool", "retries", "retries.error", "ray..x"),
)


@often
@given(
    given=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(SETTINGS + KEYS), st.sampled_from(SCALARS + PIECES)).map("=".join),
            st.tuples(st.sampled_from(SETTINGS), st.text(max_size=12)).map("=".join),
            st.text(max_size=20),
        ),
        max_size=3,
    )
)
def test_settings_of_any_text_are_a_cluster_or_one_sentence(place: Path, given: list[str]) -> None:
    path = place / "set.yaml"
    path.write_text(CLUSTER, encoding="utf-8")
    try:
        assert SECRET not in repr(load_cluster(path, place, WORKLOAD, backends(), given))
    except OrchestratorError as error:
        sentence_of(error, place)


@often
@given(
    profile=st.one_of(st.sampled_from(KEYS), st.text(max_size=10)),
    chosen=st.lists(st.one_of(st.none(), st.sampled_from(KEYS + PIECES), st.text(max_size=10)), min_size=3, max_size=3),
)
def test_any_profile_and_selection_is_found_or_refused(
    place: Path, whole: Study, profile: str, chosen: list[str | None]
) -> None:
    look(place / "whole.yaml", profile=profile)
    try:
        select(whole.plan, *chosen)
    except OrchestratorError as error:
        assert error.exit_code == 2
