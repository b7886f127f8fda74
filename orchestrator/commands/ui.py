"""`ui`: MLflow's user interface."""

from typing import Annotated

import typer

from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import StudyOptions
from orchestrator.wording import public_url


def ui(
    *,
    options: StudyOptions,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, metavar="N", help="Port to listen on.")] = 5000,
) -> None:
    """Serve MLflow's pages for this study until Ctrl-C.

    Where `tracking.uri` of the cluster file names a server, prints its address.
    """
    from orchestrator.schedule.lease_holder import is_held
    from orchestrator.tracking.mlflow.sqlite_file import database_path
    from orchestrator.tracking.mlflow.ui import open_ui

    study = options.look()
    uri = study.cluster.tracking.uri
    database = database_path(study.home, uri)
    if database is None:
        print(f"{public_url(uri or '')}  (the MLflow server that tracking.uri names has the runs)")
        return
    open_ui(study.home, database, study.plan.study, host, port, busy=is_held(study.home))


COMMAND = Command(
    function=ui,
    group=Group.RESULTS,
    position=1,
    examples=[("echo-matrix ui", "at http://127.0.0.1:5000"), ("echo-matrix ui --port 5001", "on another port")],
)
