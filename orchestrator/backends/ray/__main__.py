"""`python -m orchestrator.backends.ray ADDRESS`: the child that holds Ray; `local` is one of its own.

What decides who may speak to a Ray, and where it listens, is read when ray is imported, so it is set before.
"""

import os
import sys

from orchestrator.backends.ray.environment import ONE_MACHINE, create_token, join_environment
from orchestrator.backends.ray.pipe import REFUSED
from orchestrator.backends.ray.session import TOKEN, make_session, session_folder
from orchestrator.errors import BackendError
from orchestrator.host.processes import start_time


def main() -> int:
    """Serve the driver until it closes our standard input."""
    replies = os.dup(1)
    os.dup2(2, 1)  # what Ray prints must not be read as an answer
    folder = None
    if sys.argv[1] == "local":
        started = start_time(os.getpid())
        assert started is not None
        try:
            folder = session_folder(os.getpid(), started)
            make_session(folder)
        except (BackendError, OSError) as error:
            print(error, file=sys.stderr)
            return REFUSED
        os.environ.update({**create_token(folder / TOKEN), **ONE_MACHINE})
    else:
        os.environ.update(join_environment())
    from orchestrator.backends.ray.child import Child

    return Child(replies, folder).run()


if __name__ == "__main__":
    sys.exit(main())
