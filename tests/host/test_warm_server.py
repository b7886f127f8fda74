"""What the warm server imports, and what it leaves to those that need it."""

import json
import subprocess
import sys

import pytest

from workloads.contract.defaults import DEFAULT
from workloads.runtime.server import preload
from workloads.study.stages import STAGES

NAMES = [stage.name for stage in STAGES]


def test_without_a_choice_everything_is_imported_that_any_stage_needs() -> None:
    assert set(preload(DEFAULT)) == {name for stage in NAMES for name in preload(DEFAULT, [stage])}


@pytest.mark.parametrize("stage", NAMES)
def test_a_server_of_one_stage_imports_deepspeed_for_training_alone(stage: str) -> None:
    look = (
        "import sys; from workloads.runtime.server import import_all, preload; "
        "import_all(preload(sys.argv[1], sys.argv[2:])); "
        "import json; print(json.dumps([name for name in ('deepspeed', 'torch') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", look, DEFAULT, stage], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "is not preloaded" not in done.stderr, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == (["deepspeed", "torch"] if stage == "train" else ["torch"])
