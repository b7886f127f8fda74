"""Which page of MLflow shows a study's run: the saved view with its rows and cells; without MLflow."""

import contextlib
import json
import os
import sqlite3
import urllib.error
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from orchestrator.plan.job import Plan
from orchestrator.tracking.mlflow.identity import experiment_of, home_id
from orchestrator.tracking.mlflow.projection import CELL_TAG, IN_TAG, study_key
from orchestrator.tracking.mlflow.server import api_request
from orchestrator.tracking.mlflow.sqlite_file import database_path
from orchestrator.tracking.mlflow.views import ALL, VIEW_TAG, runs_page, view_key
from orchestrator.web import get

BY_NAME = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="
SEARCH = "/api/2.0/mlflow/runs/search"
MOST_RUNS, MOST_PAGES = 1000, 20
"""Of an answer of the server, and such answers that are read."""
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


def runs_of(plan: Plan, home: Path, uri: str | None) -> dict[str, str]:
    """Cell id -> address of its run, of the cells that a server shows; empty: no server, or it does not answer.

    Args:
        plan: of the study; its profile and overrides tell which run.
        home: the study's folder.
        uri: `tracking.uri` of the cluster file.
    """
    if uri is None or database_path(home, uri) is not None or not home.is_dir():
        return {}
    found = _asked(uri, experiment_of(plan, home))
    if found is None:
        return {}
    parts = urlsplit(uri.rstrip("/"))
    server = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))  # without name and password
    of = f"{study_key(plan)}-{home_id(home)}"
    runs = {key: f"{server}/#/experiments/{found[0]}/runs/{run}" for run, key in _cells(uri, found[0], of)}
    return {cell.id: runs[cell.fingerprint] for cell in plan.cells if cell.fingerprint in runs}


def _cells(uri: str, experiment: str, of: str) -> Iterator[tuple[str, str]]:
    """(run id, fingerprint of its cell) of a study's runs, newest first; none once the server does not answer."""
    url, credentials = api_request(uri, os.environ, SEARCH)
    headers = {**credentials, "Content-Type": "application/json"}
    token = ""
    for _ in range(MOST_PAGES):
        wanted = {
            "experiment_ids": [experiment],
            "filter": f"tags.`{IN_TAG}` = '{of}'",
            "max_results": MOST_RUNS,
            "page_token": token,
        }
        try:
            with get(
                url, {**headers, "Content-Type": "application/json"}, TIMEOUT_S, json.dumps(wanted).encode()
            ) as answer:
                page = json.load(answer)
            for run in page.get("runs", ()):
                tags = {tag["key"]: tag.get("value", "") for part in run.values() for tag in part.get("tags", ())}
                if CELL_TAG in tags:
                    yield str(run["info"]["run_id"]), tags[CELL_TAG]
            token = str(page.get("next_page_token", ""))
        except (urllib.error.URLError, HTTPException, OSError, ValueError, KeyError, TypeError, AttributeError):
            return
        if not token:
            return


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
