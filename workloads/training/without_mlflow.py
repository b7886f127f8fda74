"""Imported before DeepSpeed: its autotuner imports MLflow where it finds it, which no job may load.

That costs each warm server two seconds and 60 MiB, for a tuner that is never used. DeepSpeed takes the
failed import for an absent package. `lift` ends it, once DeepSpeed is imported.
"""

import sys

if "mlflow" not in sys.modules:
    sys.modules["mlflow"] = None  # type: ignore[assignment]  # documented: makes `import mlflow` fail


def lift() -> None:
    """Let MLflow be imported again: a process that runs a job never does, but one that runs tests may."""
    if sys.modules.get("mlflow", sys) is None:
        del sys.modules["mlflow"]
