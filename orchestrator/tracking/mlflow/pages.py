"""Which page of MLflow shows a study's run: the saved view with its rows and cells; without MLflow."""

import contextlib
import json
import os
import sqlite3
import urllib.error
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from orchestrator.plan.job import Plan
from orchestrator.tracking.mlflow.identity import experiment_of, home_id
from orchestrator.tracking.mlflow.projection import study_key
from orchestrator.tracking.mlflow.server import api_request
from orchestrator.tracking.mlflow.sqlite_file import database_path
from orchestrator.tracking.mlflow.views import ALL, VIEW_TAG, runs_page, view_key
from orchestrator.web import get

BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="
TIMEOUT_S = 10.0
BUSY_S = 5.0


def page_of(plan: Plan, home: Path, uri: str | None) -> str:
    """The part of the address behind the server's, such as `#/experiments/1/runs?...`; empty: nothing is known yet.

    Args:
        plan: of the study; its profile and overrides tell which run.
        home: the study's folder.
        uri: `tracking.uri` of the cluster file.
    """
    name, database = experiment_of(plan, home), database_path(home, uri)
    found = _asked(uri or "", name) if database is None else _read(database, name)
    if found is None:
        return ""
    experiment, tags = found
    key = study_key(plan)
    if uri is not None:
        with contextlib.suppress(OSError):
            key += f"-{home_id(home)}"
    if f"{VIEW_TAG}{view_key(key, ALL)}" in tags:
        return runs_page(experiment, key)
    return f"#/experiments/{experiment}/runs"


def _read(database: Path, name: str) -> tuple[str, Mapping[str, str]] | None:
    """Id and tags of an experiment of a SQLite file; None: it has none of this name, or cannot be read."""
    if not database.is_file():
        return None
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=BUSY_S)) as connection:
            row = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
            if row is None:
                return None
            tags = connection.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", row)
            return str(row[0]), dict(tags.fetchall())
    except sqlite3.Error:
        return None


def _asked(uri: str, name: str) -> tuple[str, Mapping[str, str]] | None:
    """The same of a server; None: it has none of this name, or does not answer."""
    url, headers = api_request(uri, os.environ, BY_NAME + quote(name, safe=""))
    try:
        with get(url, headers, TIMEOUT_S) as answer:
            found = json.load(answer)["experiment"]
        return str(found["experiment_id"]), {tag["key"]: tag.get("value", "") for tag in found.get("tags", ())}
    except (urllib.error.URLError, HTTPException, OSError, ValueError, KeyError, TypeError):
        return None
