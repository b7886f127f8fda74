"""`ui`: MLflow's user interface."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import StudyOptions
from orchestrator.wording import public_url

OPEN = (
    "echo-matrix: {host} is no address of loopback: whoever has the link, or reads along on the network, can open "
    "these pages and change runs; `ssh -L` and an address of loopback let in nobody else"
)


def ui(
    *,
    options: StudyOptions,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="N", help="Port to listen on; 0: one that is free.")
    ] = 5000,
    socket_path: Annotated[
        Path | None,
        typer.Option("--socket", metavar="FILE", help="Unix socket to listen on instead, for `ssh -L`."),
    ] = None,
) -> None:
    """Serve MLflow's pages for this study until Ctrl-C.

    The printed link opens the table of this study's runs, best first. It holds a password that is made at each start;
    without it nobody is let in. Where `tracking.uri` of the cluster file names a server, prints the address there.
    """
    from orchestrator.schedule.lease_holder import is_held
    from orchestrator.tracking.mlflow.identity import experiment_of
    from orchestrator.tracking.mlflow.pages import page_of
    from orchestrator.tracking.mlflow.sqlite_file import database_path
    from orchestrator.tracking.mlflow.ui import is_open_to_others, open_ui

    study = options.look()
    uri = study.cluster.tracking.uri
    database = database_path(study.home, uri)
    page = page_of(study.plan, study.home, uri)
    if database is None:
        print(f"{public_url(uri or '').rstrip('/')}/{page}  (the MLflow server that tracking.uri names has the runs)")
        return
    if socket_path is None and is_open_to_others(host):
        print(OPEN.format(host=host), file=sys.stderr)
    open_ui(
        study.home,
        database,
        experiment_of(study.plan, study.home),
        host,
        port,
        socket_path=socket_path and socket_path.absolute(),
        page=page,
        busy=is_held(study.home),
    )


COMMAND = Command(
    function=ui,
    group=Group.RESULTS,
    position=1,
    examples=[
        ("echo-matrix ui", "prints a link to open, at 127.0.0.1:5000"),
        ("echo-matrix ui --port 0", "on a port that is free"),
    ],
)
