"""What the warm server imports, and what it leaves to those that need it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.runtime.server import preload
from workloads.study.stages import STAGES

NAMES = [stage.name for stage in STAGES]


def test_without_a_choice_everything_is_imported_that_any_stage_needs() -> None:
    assert set(preload(DEFAULT_WORKLOAD)) == {name for stage in NAMES for name in preload(DEFAULT_WORKLOAD, [stage])}


def test_deepspeed_is_imported_for_training_alone() -> None:
    """In one interpreter: what all other stages need together, and then training."""
    look = (
        "import json, sys; from workloads.runtime.server import import_all, preload\n"
        "for stages in json.loads(sys.argv[2]):\n"
        "    import_all(preload(sys.argv[1], stages))\n"
        "    print(json.dumps([name for name in ('deepspeed', 'torch') if name in sys.modules]))"
    )
    stages = json.dumps([[name for name in NAMES if name != "train"], ["train"]])
    done = subprocess.run(
        [sys.executable, "-c", look, DEFAULT_WORKLOAD, stages], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "is not preloaded" not in done.stderr, done.stderr
    loaded = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]  # DeepSpeed prints too
    assert loaded == [["torch"], ["deepspeed", "torch"]]


def test_a_module_that_starts_threads_is_named_in_the_last_line(tmp_path: Path) -> None:
    (tmp_path / "restless.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), name='ticker', daemon=True).start()\n",
        encoding="utf-8",
    )
    start = "import sys; sys.path.append(sys.argv[1]); from workloads.runtime import server; server.main(['restless'])"
    done = subprocess.run(
        [sys.executable, "-c", start, str(tmp_path)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    said = "importing restless started threads, which no fork inherits: ['ticker']; start them in run()"
    assert done.stdout == "" and done.stderr.splitlines() == [said]


def test_torch_is_imported_without_a_variable_that_would_make_float32_another_precision() -> None:
    look = (
        "from workloads.runtime import server; server.main(['torch'])\n"
        "import torch; print(torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        capture_output=True,
        text=True,
        input="",
        timeout=60,
        env={**os.environ, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"},
    )
    assert done.stderr.splitlines()[-1] == "highest False", done.stderr
