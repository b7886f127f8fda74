"""Prove what may be imported where: the orchestrator starts without torch, workloads without a scheduler.

import-linter sees the statements; this sees what really happens, transitively, in fresh interpreters.
"""

import importlib
import json
import pkgutil
import subprocess
import sys

NOT_IN_THE_ORCHESTRATOR = ("torch", "deepspeed")
NOT_IN_WORKLOADS = ("ray", "mlflow", "submitit", "boto3", "orchestrator")
NOT_AT_START = ("ray", "mlflow", "boto3", "scipy", "torch", "matplotlib", "submitit")
NOT_IN_REPORTS = ("scipy.stats", "scipy.optimize", "matplotlib.pyplot")
"""Each is a tenth to a half of a second at the end of a run."""
# They import the service they are named for, each in a process of its own.
CHILDREN = (
    "orchestrator.backends.ray.actor",
    "orchestrator.backends.ray.apart",
    "orchestrator.backends.ray.child",
    "orchestrator.backends.ray.cluster",
    "orchestrator.backends.ray.connect",
    "orchestrator.backends.ray.demand",
    "orchestrator.backends.ray.head_watch",
    "orchestrator.backends.ray.hosts",
    "orchestrator.backends.ray.membership",
    "orchestrator.backends.ray.nodes",
    "orchestrator.backends.slurm.pilot.agent",
    "orchestrator.tracking.mlflow.content",
    "orchestrator.tracking.mlflow.database",
    "orchestrator.tracking.mlflow.home_artifacts",
    "orchestrator.tracking.mlflow.outages",
    "orchestrator.tracking.mlflow.projector",
    "orchestrator.tracking.mlflow.runs",
)


STORES = "orchestrator.store.s3"
"""Imported when a study keeps its artifacts on S3, and then by the controller too."""


def imported_by(modules: list[str]) -> set[str]:
    """The modules that a fresh interpreter holds after importing `modules`."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps([name for name, module in sys.modules.items() if module]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def modules_of(package: str) -> list[str]:
    """All modules of `package`, programs left out."""
    root = importlib.import_module(package)
    return [
        package,
        *(
            info.name
            for info in pkgutil.walk_packages(root.__path__, f"{package}.")
            if not info.name.endswith("__main__")
        ),
    ]


def main() -> None:
    """Check all, name what is wrong, end with 1 if anything is."""
    everything = modules_of("orchestrator")
    checks = (
        ("the whole orchestrator", everything, NOT_IN_THE_ORCHESTRATOR),
        ("the command line at its start", ["orchestrator.cli"], NOT_AT_START),
        (
            "the orchestrator but its children",
            [m for m in everything if m not in CHILDREN and not m.startswith(STORES)],
            ("ray", "mlflow", "boto3"),
        ),
        ("workloads", modules_of("workloads"), NOT_IN_WORKLOADS),
        ("what writes a report", modules_of("reports"), NOT_IN_REPORTS),
    )
    wrong = False
    for what, modules, forbidden in checks:
        found = sorted(imported_by(modules) & set(forbidden))
        wrong = wrong or bool(found)
        print(f"{what} ({len(modules)} modules): {'imports ' + ', '.join(found) if found else 'clean'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
