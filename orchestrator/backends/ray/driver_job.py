"""The controller as a job of a Ray cluster: started from elsewhere by Ray's Jobs API, it lives on the head.

Nothing of it needs the machine that started it: what both see is the study's folder, by which `status`, `logs`, `stop`
and `run` work as with every controller on another machine.
"""

import os
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from orchestrator.backends.ray.dashboard import dashboard_version, unusable_dashboard
from orchestrator.backends.ray.environment import join_environment
from orchestrator.errors import SiteError
from orchestrator.host.children import import_path, python_command
from orchestrator.requirements import require_libraries

UNSEEN = 2
"""Exit code of a job whose machine does not see the study's folder, as of a run with bad input."""
ENDED = {"SUCCEEDED": 0, "FAILED": 1, "STOPPED": 130}
"""Status of a Ray job that has ended -> exit code, where Ray tells none."""


class DriverJob:
    """One job of a cluster that runs `echo-matrix`.

    Args:
        address: of the cluster's dashboard, such as `http://127.0.0.1:8265`.
    """

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            SiteError: nothing answers there, or it refuses the token.
            RequirementError: a library is missing here.
        """
        require_libraries(("ray", "pydantic"), "a controller on a Ray cluster")
        dashboard_version(address, os.environ)  # Ray's client says less clearly what is wrong
        os.environ.update(join_environment())
        os.environ.pop("RAY_ADDRESS", None)  # the client would take it instead of ours
        from ray.job_submission import JobSubmissionClient

        self._address = address
        try:
            self._client = JobSubmissionClient(address)
        except Exception as error:  # of the HTTP library, of Ray, or built-in
            raise SiteError(unusable_dashboard(address, f"Ray's client cannot use it ({_words(error)})")) from error
        self.id = ""

    def start(self, arguments: Sequence[str], *, python: str, code: Path, home: Path, out: Path) -> None:
        """Start `python -m orchestrator.cli ARGUMENTS` on the head.

        Args:
            arguments: of `echo-matrix`.
            python: the interpreter of this machine; the head's own is used where it has no such file.
            code: of `echo-matrix` here, used where the head sees it.
            home: `outputs/{study}`.
            out: gets its output.

        Raises:
            SiteError: the cluster refuses the job.
        """
        nonce = secrets.token_hex(8)
        seen = home / f".seen-{nonce}"
        seen.write_text(nonce, encoding="ascii")
        command = driver_command(arguments, python=python, code=code, seen=seen, out=out, folder=Path.cwd())
        try:
            self.id = self._client.submit_job(entrypoint=command, submission_id=f"echo-matrix-{home.name}-{nonce}")
        except Exception as error:
            raise SiteError(f"the cluster at {self._address} takes no job: {_words(error)}") from error

    def exit_code(self) -> int | None:
        """Its exit code; None: it is waiting or running, or the cluster does not answer now."""
        try:
            job = self._client.get_job_info(self.id)
        except Exception:  # whoever waits goes on to wait
            return None
        if str(job.status.value) not in ENDED:
            return None
        return job.driver_exit_code if job.driver_exit_code is not None else ENDED[str(job.status.value)]

    def output(self) -> str:
        """What the job has printed beside the controller's output."""
        try:
            return str(self._client.get_job_logs(self.id))
        except Exception:  # it is only shown beside the exit code
            return ""


def driver_command(arguments: Sequence[str], *, python: str, code: Path, seen: Path, out: Path, folder: Path) -> str:
    """A line of shell that runs the controller, if its machine sees the study's folder; else it ends with `UNSEEN`.

    Args:
        arguments: of `echo-matrix`.
        python: the interpreter, where there is this file; else `python`.
        code: comes first on the import path.
        seen: a file in the study's folder, which the line removes.
        out: gets the output.
        folder: in which the controller runs.
    """
    home = seen.parent
    unseen = (
        f"the cluster's head does not see the study's folder {home}: put ECHO_MATRIX_HOME on a file system that it "
        "shares, or submit the run by `ray job submit` (docs/how-to/driver-on-the-cluster.md)"
    )
    path, words = import_path(code, {}), shlex.join(python_command("orchestrator.cli", *arguments)[1:])
    return "; ".join(
        [
            f"[ -f {quote(str(seen))} ] || {{ echo {quote(unseen)}; exit {UNSEEN}; }}",
            f"rm -f {quote(str(seen))}",
            f"cd {quote(str(folder))} || exit {UNSEEN}",
            f"PYTHON={quote(python)}",
            '[ -x "$PYTHON" ] || PYTHON=python',
            f"export ECHO_MATRIX_HOME={quote(str(home.parent))}",
            *([f"export PYTHONPATH={quote(path)}${{PYTHONPATH:+:$PYTHONPATH}}"] if path else []),
            f"echo {quote(f'the output goes to {out.parent}')}",
            f'exec "$PYTHON" {words} >> {quote(str(out))} 2>&1',
        ]
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
