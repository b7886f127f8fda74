"""The user of this process, where the system does not know it: a container, or a namespace, with a number for a user.

Libraries ask for a home folder and a name, and many fail where neither the system nor the environment has one.
"""

import os
import pwd
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""Where Python looks for a user's name, before it asks the system."""


def complete_user(environment: MutableMapping[str, str] = os.environ) -> None:
    """Give a name and a home folder to a user who is a number only; what the environment says is kept.

    The home folder is a temporary one. A `HOME` that cannot be written counts as none: that of such a user in a
    container is `/`.

    Raises:
        OSError: no folder can be made.
    """
    user = os.getuid()
    try:
        pwd.getpwuid(user)
        return
    except KeyError:
        pass
    if not any(environment.get(name) for name in NAMES):
        environment["USER"] = f"user-{user}"
    home = environment.get("HOME")
    if not home or not os.access(home, os.W_OK | os.X_OK):
        environment["HOME"] = str(_home_of(user))


def _home_of(user: int) -> Path:
    """A temporary folder that nobody else can enter, the same each time where that is possible."""
    folder = Path(tempfile.gettempdir()) / f"echo-matrix-home-{user}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        made = folder.lstat()
        if folder.is_symlink() or made.st_uid != user or made.st_mode & 0o077:
            return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
    return folder
