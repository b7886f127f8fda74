"""What an experiment of MLflow holds, in a form in which two servers can be compared."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient


def contents_of(client: MlflowClient, experiment: str) -> dict[str, dict[str, Any]]:
    """By name of the run: all but ids and the time of its start; names stand for ids in tags."""
    number = client.get_experiment_by_name(experiment).experiment_id
    runs = client.search_runs([number], max_results=1000)
    names = {run.info.run_id: run.info.run_name for run in runs}
    assert len(set(names.values())) == len(runs)

    def named(text: str) -> str:
        for run, name in names.items():
            text = text.replace(run, name)
        return text.replace(f"/experiments/{number}/", f"/experiments/{experiment}/")

    return {
        run.info.run_name: {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {key: named(text) for key, text in run.data.tags.items()},
            "metrics": {key: _history(client, run.info, key) for key in run.data.metrics},
            "files": dict(_files(client, run.info.run_id, "")),
        }
        for run in runs
    }


def seconds_of(client: MlflowClient, experiment: str) -> dict[str, float]:
    """By name of the run: how long it took."""
    number = client.get_experiment_by_name(experiment).experiment_id
    infos = [run.info for run in client.search_runs([number], max_results=1000)]
    return {info.run_name: (info.end_time - info.start_time) / 1000 for info in infos}


def _history(client: MlflowClient, run: Any, key: str) -> list[tuple[int, float, int]]:
    """Step, value, and time since the start of the run, ms."""
    points = client.get_metric_history(run.run_id, key)
    return sorted((point.step, point.value, point.timestamp - run.start_time) for point in points)


def _files(client: MlflowClient, run: str, where: str) -> Iterator[tuple[str, str]]:
    """Path and sha256 of each file."""
    for item in client.list_artifacts(run, where):
        if item.is_dir:
            yield from _files(client, run, item.path)
            continue
        with tempfile.TemporaryDirectory() as folder:
            content = Path(client.download_artifacts(run, item.path, folder)).read_bytes()
        yield item.path, hashlib.sha256(content).hexdigest()
