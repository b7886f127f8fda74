"""`stop`: end the run in progress as Ctrl-C does, from any machine with access to the study's folder."""

import sys
from typing import Annotated

import typer

from orchestrator.commands.active_run import request_stop, wait_for_end
from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import JsonOption, StudyOptions
from orchestrator.schedule.lease_holder import STALE_AFTER_S, living_holder
from orchestrator.ui.terminal import print_json


def stop(
    *,
    options: StudyOptions,
    now: Annotated[
        bool, typer.Option("--now", help="End attempts at once instead of at their next checkpoint.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once; do not wait for the run to end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Stop the run in progress.

    Does what Ctrl-C does where it runs: attempts save a checkpoint and end, and the next run continues from there.
    """
    home = options.home()
    out = sys.stderr if as_json else sys.stdout
    holder = living_holder(home)
    ended = holder is None
    if holder is None:
        print("no run is in progress", file=out)
    else:
        request_stop(home, holder, now=now)
        how = "at once" if now else "at the next checkpoint"
        print(f"asked pid {holder.pid} on {holder.host} to stop {how}", file=out, flush=True)
        if not no_wait:
            ended = wait_for_end(home, holder, lambda text: print(text, file=out, flush=True))
            how = "the run has ended" if ended else f"no response for {STALE_AFTER_S:g} s, its machine may be down"
            print(f"{how}; `echo-matrix run` continues it", file=out)
    if as_json:
        asked = None if holder is None else {"pid": holder.pid, "host": holder.host}
        print_json({"version": 1, "asked": asked, "ended": ended})


COMMAND = Command(
    function=stop,
    group=Group.RUN,
    position=2,
    examples=[
        ("echo-matrix stop", "at the next checkpoints, and wait for it"),
        ("echo-matrix stop --now", "at once: work since the last checkpoints is repeated"),
    ],
)
