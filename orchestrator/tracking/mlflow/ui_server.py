"""Server of the MLflow UI: `python -m orchestrator.tracking.mlflow.ui_server`, which `ui.start_ui` starts.

Its standard input is one line of JSON, because everybody can read a command line: `fd`, the listening socket that it
inherits; `password` and `names`, as for `Gate`; `database`, the address of MLflow's; `home`, the study's folder;
`artifacts`, where new experiments have theirs. It ends when its standard input is closed.
"""

import json
import os
import socket
import sys
import threading
import uuid
from pathlib import Path

import uvicorn

from orchestrator.tracking.mlflow.gate import Gate


def main() -> None:
    """Serve until the other end of standard input is closed, or TERM."""
    settings = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    # MLflow reads these when it is imported: they are how its own command line tells its servers.
    os.environ.update(
        _MLFLOW_SERVER_FILE_STORE=settings["database"],
        _MLFLOW_SERVER_ARTIFACT_ROOT=settings["artifacts"],
        _MLFLOW_SERVER_BOOT_ID=uuid.uuid4().hex,
        _MLFLOW_SGI_NAME="uvicorn",
        _MLFLOW_IN_JOB_EXECUTOR="false",
    )
    from mlflow.server.fastapi_app import app

    from orchestrator.tracking.mlflow.home_artifacts import serve_only

    serve_only(Path(settings["home"]))
    config = uvicorn.Config(
        Gate(app, settings["password"], settings["names"]),
        access_log=False,  # one line per request, and open pages keep polling
        lifespan="off",  # MLflow's looks for containers of its assistant
        proxy_headers=False,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=settings["fd"])])


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
