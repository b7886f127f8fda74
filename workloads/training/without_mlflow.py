"""Imported before DeepSpeed: its autotuner imports MLflow where it finds it, which no job may load.

That costs each warm server two seconds and 60 MiB, for a tuner that is never used. DeepSpeed takes the
failed import for an absent package.
"""

import sys

if "mlflow" not in sys.modules:
    sys.modules["mlflow"] = None  # type: ignore[assignment]  # documented: makes `import mlflow` fail
