"""What runs say besides series: pure functions of plan, states and report."""

import base64
import dataclasses
import json
import sqlite3
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from made_plan import made_plan

from orchestrator.tracking.mlflow.case_tables import case_tables
from orchestrator.tracking.mlflow.descriptions import LONGEST, cell_text, row_text, study_text
from orchestrator.tracking.mlflow.pages import page_of, runs_of
from orchestrator.tracking.mlflow.projection import CELL_TAG, cell_message, study_key, study_message, varying_keys
from orchestrator.tracking.mlflow.rows import mean_of, orders, row_values, score_text
from orchestrator.tracking.mlflow.views import ALL, CELLS, ROWS, VIEW_TAG, view_key, view_tags

COLUMN = {"branch": "return", "metric": "judge", "name": "Judge", "unit": "points", "better": "high", "decimals": 1}


def study(seeds: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """The message of a study whose cells differ in the number of frames."""
    plan = made_plan(("context-k1", "context-k5", "context-k20"), alias=None)
    cells = [
        dataclasses.replace(
            cell, id=f"{cell.row}/s{seed}", seed=seed, evaluated={"frames": int(cell.row.rpartition("k")[2])}
        )
        for cell in plan.cells
        for seed in seeds
    ]
    jobs_of = {cell.id: plan.jobs_of[f"{cell.row}/s0"] for cell in cells}
    return study_message(dataclasses.replace(plan, cells=tuple(cells), jobs_of=jobs_of))


def report(means: dict[str, float | None]) -> dict[str, Any]:
    """As much of report.json as is read."""
    rows = {
        row: {"return/judge": {"mean": mean, "low": None if mean is None else mean - 1, "high": None, "n": 6}}
        for row, mean in means.items()
    }
    for entry in rows.values():
        if entry["return/judge"]["mean"] is not None:
            entry["return/judge"]["high"] = entry["return/judge"]["mean"] + 1
    return {
        "rows": rows, "columns": [{**COLUMN, "marks": {"context-k5": "best"}}], "intervals": "over scenes and seeds",
        "findings": [{"statement": "More is better", "verdict": "supported", "effect": 2.0, "low": 1.0, "high": 3.0,
                      "unit": "points"}],
        "controls": {"fingerprint": "c" * 64, "deviations": [], "verdicts": [{"check": "steps", "verdict": "held"}]},
        "missing": [{"row": "context-k20", "axes": "", "seed": 0, "branch": "return", "state": "failed"}],
    }  # fmt: skip


def test_only_what_tells_cells_apart_is_a_parameter_and_the_rest_is_kept_once() -> None:
    message = study(seeds=(0, 1))
    assert message["varying"] == ["row", "memory.frames", "seed"]
    assert message["constant"]["controls.training.steps"] == "25"
    assert message["rows"]["context-k5"]["params"] == {"row": "context-k5", "memory.frames": "5"}
    assert varying_keys([{"a": "1", "b": "2"}, {"a": "1"}]) == ["b"]
    assert varying_keys([{"a": "1"}]) == []


def test_rows_are_ordered_best_first_then_without_value_then_references() -> None:
    message, means = study(), {"context-k1": 4.0, "context-k5": 9.0, "context-k20": None}
    assert list(orders(message, report(means))) == ["context-k5", "context-k1", "context-k20"]
    message["rows"]["context-k5"]["reference"] = True
    assert list(orders(message, report(means))) == ["context-k1", "context-k20", "context-k5"]
    lower = report(means)
    lower["columns"][0]["better"] = "low"
    message["rows"]["context-k5"]["reference"] = False
    assert list(orders(message, lower)) == ["context-k1", "context-k5", "context-k20"]
    assert list(orders(message, None)) == ["context-k1", "context-k5", "context-k20"]


def test_a_rows_mean_and_interval_are_those_of_the_report() -> None:
    found = report({"context-k5": 9.123456789, "context-k20": None})
    assert row_values(study(), found, "context-k5") == {
        "return/judge": (9.12346, 6),
        "return/judge.low": (8.12346, 6),
        "return/judge.high": (10.1235, 6),
    }
    assert row_values(study(), found, "context-k20") == {}
    assert score_text(found, "context-k5", found["columns"][0]) == "9.1 (8.1 to 10.1) *"
    assert score_text(found, "context-k20", found["columns"][0]) == ""
    found["rows"]["context-k5"]["return/judge"]["comparable"] = False
    assert score_text(found, "context-k5", found["columns"][0]) == "not comparable: 9.1 (8.1 to 10.1)"
    assert "context-k5" not in [label for label in orders(study(), found) if mean_of(found, label, found["columns"][0])]


def test_the_description_of_a_study_has_ranking_findings_certificate_and_what_is_missing() -> None:
    message = study()
    states = dict.fromkeys(message["rows"]["context-k1"]["jobs"], "done")
    text = study_text(message, states, report({"context-k1": 4.0, "context-k5": 9.0}), {"report": "#/r"}, {})
    for part in (
        "3/9 jobs done. **return**, best: context-k5.", "[report](#/r)",
        "\\* is the best: every other row is shown to be worse. Worse: paired, Holm within the column, p < 0.05. In",
        "| 1 | context-k5 | 9.0 (8.0 to 10.0) \\* |", "| More is better | **supported** | 2 points | 1 to 3 |",
        "**held**: steps", "context-k20/0/return: failed",
    ):  # fmt: skip
        assert part in text
    message["rows"]["context-k20"]["alias_of"] = "context-k5"
    text = study_text(message, states, report({"context-k1": 4.0, "context-k5": 9.0, "context-k20": 9.0}), {}, {})
    assert "| 1 | context-k20 |" in text and "| 2 | context-k1 |" in text, "another name takes no place of its own"
    assert "are added when the report is written" in study_text(message, states, None, {}, {})
    assert "return: Judge, points: **9.0 (8.0 to 10.0) \\***" in row_text(
        message, states, report({"context-k5": 9.0}), "context-k5"
    )


def test_a_cells_description_leads_to_log_and_commit_record_and_fits_mlflow() -> None:
    plan = made_plan()
    cell = cell_message(plan, plan.cells[-1], {})
    job = {"name": "train", "state": "done", "job": "train/1", "commit": "store/c.json", "log": "a/log.txt"}
    text = cell_text(cell, [job], {"return: Judge": "4.1"}, {"cases of return": "#/c"}, ["How."])
    assert text.startswith("The same computation as context-k1/s0")
    assert "* **train** `train/1`: done<br>`a/log.txt`<br>`store/c.json`" in text
    assert len(cell_text(cell, [job] * 1000, {}, {}, [])) <= LONGEST


def test_what_a_cell_reads_is_named_with_who_reads_it() -> None:
    plan = made_plan()
    shared = next(iter(plan.jobs.values()))
    data = dataclasses.replace(shared, id="data/1", spec=plan.workload.by_name["data"], branch=None, inputs={})
    jobs = {"data/1": data} | {
        name: dataclasses.replace(job, inputs={"data": "data/1"} if job.stage != "judge" else {})
        for name, job in plan.jobs.items()
    }
    cell = cell_message(dataclasses.replace(plan, jobs=jobs), plan.cells[0], {})
    assert [(one["name"], one["for"]) for one in cell["inputs"]] == [("data", "train, evaluate")]


def test_a_table_has_a_total_beside_its_parts_and_a_column_for_each_judge() -> None:
    lines = [
        {"case": case, "metric": metric, "unit": unit, "value": value}
        for case in ("a", "b")
        for metric, unit, value in (("parts", "", 1.0), ("judge", "points:x", 2.0), ("judge", "points:y", 3.0))
    ]
    found = case_tables(lines, {"b": "far/strips/b.png"}, first=["judge"])
    assert json.loads(found["cases.json"]) == {
        "columns": ["case", "judge points:x", "judge points:y", "parts"],
        "data": [["a", 2.0, 3.0, 1.0], ["b", 2.0, 3.0, 1.0]],
    }
    assert [row[0] for row in json.loads(found["images.json"])["data"]] == ["b"]
    assert case_tables([], {}) == {}


def opened(value: str) -> dict[str, Any]:
    """The state of a saved view, as MLflow's page reads it."""
    state = json.loads(value)["state"]
    assert state.startswith("deflate;")
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(state[len("deflate;") :])))
    return found


def test_views_order_by_rank_and_have_state_progress_and_scores_as_columns() -> None:
    message = study(seeds=(0, 1))
    tags = view_tags(message, report({"context-k1": 1.0}), "echo_matrix.of", 1000)
    assert tags == view_tags(message, report({"context-k1": 1.0}), "echo_matrix.of", 1000)
    of = {view: opened(tags[f"{VIEW_TAG}{view_key(message['key'], view)}"]) for view in (ALL, ROWS, CELLS)}
    assert of[ALL]["orderByKey"] == "tags.`order`" and of[ALL]["orderByAsc"] is True
    assert of[ALL]["selectedColumns"] == [
        "tags.`state`", "tags.`progress`", "metrics.`return/judge`", "tags.`row`", "tags.`family`", "tags.`seed`"
    ]  # fmt: skip
    assert "tags.`score.return`" in of[ROWS]["selectedColumns"]
    assert message["key"] in of[ALL]["searchFilter"]
    charts = [(chart["type"], chart["metricKey"]) for chart in of[CELLS]["compareRunCharts"]]
    assert charts == [("LINE", "train/loss"), ("BAR", "return/judge")]
    assert of[CELLS]["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "row"}]
    assert opened(view_tags(study(), None, "x", 1)[f"{VIEW_TAG}{view_key(message['key'], CELLS)}"])["groupBy"] is None


def test_a_server_that_redirects_gets_the_credentials_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[str | None] = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers["Authorization"])
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-this-server")
    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert page_of(made_plan(), tmp_path / "toy", f"http://127.0.0.1:{server.server_port}") == ""
        server.shutdown()
    assert received == ["Bearer of-this-server"]


def test_ui_opens_the_view_of_the_study_or_its_runs_or_the_start_page(tmp_path: Path) -> None:
    plan, home = made_plan(), tmp_path / "toy"
    assert page_of(plan, home, None) == ""
    home.mkdir()
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("CREATE TABLE experiments (experiment_id, name)")
        connection.execute("CREATE TABLE experiment_tags (experiment_id, key, value)")
        assert page_of(plan, home, None) == ""
        connection.execute("INSERT INTO experiments VALUES (7, 'toy')")
    assert page_of(plan, home, None) == "#/experiments/7/runs"
    key = view_key(study_key(plan), ALL)
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("INSERT INTO experiment_tags VALUES (7, ?, '{}')", (f"{VIEW_TAG}{key}",))
    assert page_of(plan, home, None).startswith(f"#/experiments/7/runs?viewStateShareKey={key}&")


def test_cells_have_the_addresses_of_their_runs_on_a_server_and_no_credentials(tmp_path: Path) -> None:
    plan, home = made_plan(), tmp_path / "toy"
    home.mkdir()
    first, second = plan.cells[:2]
    asked: list[dict[str, object]] = []

    def run(number: int, fingerprint: str) -> dict[str, object]:
        tags = [{"key": CELL_TAG, "value": fingerprint}, {"key": "row", "value": "any"}]
        return {"info": {"run_id": f"r{number}"}, "data": {"tags": tags}}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({"experiment": {"experiment_id": "7"}})

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            of_page = {"": ([run(3, "of another plan"), run(2, first.fingerprint)], "more"), "more": ([], "")}
            runs, token = of_page[str(asked[-1]["page_token"])]
            self._answer({"runs": runs, "next_page_token": token})

        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        found = runs_of(plan, home, f"http://me:secret@{address}/")
        server.shutdown()
    assert found == {first.id: f"http://{address}/#/experiments/7/runs/r2"} and second.id not in found
    assert asked[0]["experiment_ids"] == ["7"] and study_key(plan) in str(asked[0]["filter"])
    assert runs_of(plan, home, f"http://{address}") == {}, "nobody answers"
    assert runs_of(plan, home, None) == runs_of(plan, home, f"sqlite:///{home}/mlflow.db") == {}
