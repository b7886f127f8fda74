"""What holds where nothing is said."""

DEFAULT = "workloads.study.workload"
"""The workload of a matrix.yaml that names none: Echo-Memory."""
