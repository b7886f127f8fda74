"""The command line: the table of verbs, and what becomes of errors. A verb is in `verbs/`, what it does elsewhere.

Exit codes: 0 all done · 1 something is not · 2 bad input · 130 interrupted, everything resumable.
"""

import contextlib
import errno
import os
import re
import sys
import traceback

import typer
from typer.exceptions import TyperException

from orchestrator.errors import OrchestratorError, disk_error
from orchestrator.terminal import GONE, mute
from orchestrator.verbs import change, doctor, keep, look, report, run
from workloads.runtime.masking import mask, secrets_of

app = typer.Typer(
    name="echo-matrix",
    help="Bring a controlled study to what matrix.yaml declares. Running it twice is free.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

VERBS = (
    (run.plan, "Example: echo-matrix plan --rows 'context-*' controls.training.steps=800"),
    (
        run.run,
        "Examples: echo-matrix run · echo-matrix run --rows context-k1,family:ssm --seeds 0 --branches replay · "
        "echo-matrix run --smoke --profile study · echo-matrix run --detach · echo-matrix run --backend slurm · "
        "echo-matrix run --refresh train/context-k5/s0",
    ),
    (look.status, "Example: echo-matrix status --watch"),
    (look.logs, "Examples: echo-matrix logs train/context-k5/s0 --follow · echo-matrix logs index/s0 --tail 20"),
    (look.explain, "Example: echo-matrix explain train/context-k5/s0 --request > request.json"),
    (report.report, "Example: echo-matrix report --source published --json"),
    (report.ui, "Example: echo-matrix ui --port 5000"),
    (report.sync, "Example: echo-matrix sync"),
    (change.stop, "Example: echo-matrix stop --now"),
    (change.retry, "Examples: echo-matrix retry train/context-k5/s0 · echo-matrix retry --failed"),
    (change.cancel, "Examples: echo-matrix cancel train/context-k5/s0 · echo-matrix cancel 'judge/*' --now"),
    (
        doctor.doctor,
        "Examples: echo-matrix doctor --backend slurm · echo-matrix doctor --profile study --cluster cluster/ray.yaml",
    ),
    (look.show, "Example: echo-matrix show train/context-k5/s0"),
    (look.path, "Example: ls $(echo-matrix path train/context-k5/s0)"),
    (keep.gc, "Examples: echo-matrix gc --dry-run · echo-matrix gc --yes"),
    (keep.reshard, "Example: echo-matrix reshard train/context-k5/s0 --ranks 1 --zero-stage 2"),
)
"""Verb -> its example; in the order in which `--help` shows them."""

POSSIBLE = re.compile(r"\.? Did you mean (.+)\?$|\.? \(Possible options: (.+)\)$")
"""How typer says what may have been meant."""

for verb, example in VERBS:
    app.command(epilog=example)(verb)


def main() -> None:
    """Run the command line; errors made on purpose are printed as one line and give their exit code."""
    try:
        code = _exit_code()
    except Exception:  # a bug of ours is shown whole, but what a detached driver says is a file too
        with contextlib.suppress(OSError):
            print(mask(traceback.format_exc(), secrets_of(os.environ)), file=sys.stderr)
        code = 1
    sys.exit(code)


def _exit_code() -> int:
    try:
        code = int(app(prog_name="echo-matrix", standalone_mode=False) or 0)
        sys.stdout.flush()  # a reader that has gone is found here, not when the interpreter ends
        return code
    except OrchestratorError as error:
        _say(str(error))
        return error.exit_code
    except TyperException as error:
        return _usage(error)
    except typer.Abort:
        _say("nothing was changed")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; nothing is lost, say it again")
        return 130
    except OSError as error:
        known = None if error.errno == errno.EPIPE else disk_error(error)
        if known is None and error.errno not in GONE:
            raise
        mute()
        if known is not None:
            _say(str(known))
        return 1


def _usage(error: TyperException) -> int:
    """A command line that cannot be understood, as one line; no verb at all: the help."""
    message = str(getattr(error, "format_message", lambda: error)())
    if message.startswith("Usage:"):
        print(message)
        return 2
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "echo-matrix"
    meant = POSSIBLE.search(message)
    first = (message[: meant.start()] if meant else message).rstrip(".")
    hint = f"; did you mean {(meant[1] or meant[2]).rstrip('?')}" if meant else ""
    _say(f"{first[:1].lower()}{first[1:]}{hint}; `{where} --help` shows what is allowed")
    return 2


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that has gone hears nothing
        print(f"echo-matrix: {mask(text, secrets_of(os.environ))}", file=sys.stderr)


if __name__ == "__main__":
    main()
