"""`ui`: MLflow's user interface."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import StudyOptions
from orchestrator.study import open_study


def ui(
    *,
    options: StudyOptions,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port to listen on.")] = 5000,
) -> None:
    """Serve MLflow's pages for this study until Ctrl-C."""
    from orchestrator.tracking.mlflow.ui import open_ui

    open_ui(open_study(options.matrix, cluster=options.cluster, settings=options.settings or ()).home, host, port)


COMMAND = Command(
    function=ui,
    group=Group.RESULTS,
    position=1,
    examples=[("echo-matrix ui", "at http://127.0.0.1:5000"), ("echo-matrix ui --port 5001", "on another port")],
)
