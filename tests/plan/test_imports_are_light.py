"""Planning imports nothing that computes, schedules or tracks."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "ray", "mlflow", "boto3", "scipy", "numpy", "deepspeed", "matplotlib", "pandas")


def test_loading_and_planning_import_nothing_heavy(root: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from orchestrator.plan import build, diff, fingerprint, job, select, show\n"
        "from orchestrator.spec import cluster, controls, expand, load\n"
        "m = load.resolve_profile(load.load_matrix(Path('matrix.yaml')), 'laptop', [])\n"
        "p = build.build_plan(m, expand.expand(m))\n"
        "show.plan_json(p, diff.standings(p, frozenset(), {}, {}))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())
