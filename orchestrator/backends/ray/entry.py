"""Entry of a node: what Ray starts there brings the code along, and then makes the `Host`; standard library only.

Ray makes an actor by importing the module of its class, and a node that does not see the study's folder has none of
ours. So the class that Ray gets travels by value, with this module and `host.code_archive`. It looks whether the node
sees the folder. If it does not, the code is unpacked into a scratch folder of the node's own, and the attempts live
there too (`host.scratch`): artifacts and checkpoints travel through the store, and the driver fetches logs and the like
(`host.attempt_files`).
"""

import inspect
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.host.code_archive import holds_code, unpack_code

SCRATCH = "ECHO_MATRIX_SCRATCH"
"""Environment variable of a node: where its scratch folder is, before `ray.scratch` and the system's temporary one."""
GUIDE = "docs/how-to/ray-cluster.md"


class NodeEntry:
    """Makes this node's `Host`; each of its public methods is passed on."""

    def __init__(self, settings: Mapping[str, Any], devices: int, archive: Sequence[Any]) -> None:
        """As for `Host`.

        Args:
            settings: those of `Host`; `token`, where the cluster is a standing one, and `scratch`.
            devices: of the share.
            archive: Ray's reference to the code, packed, which is fetched where it is needed; empty: none is sent.

        Raises:
            RuntimeError: this node does not see the study's folder, and has nothing instead; says what to do.
        """
        why = unseen(settings.get("token"))
        here = settings if not why else settings_apart(settings, why, lambda: _fetched(archive))
        sys.path[:] = [here["code"], *(entry for entry in sys.path if entry != os.sep)]  # see `connect`
        from orchestrator.backends.ray.actor import Host

        self._host = Host(here, devices)


def class_of_host(methods: Mapping[str, Any]) -> type:
    """The class that Ray gets, with the public ones of `methods`; Ray shows its processes as `ray::Host`."""
    return type(
        "Host",
        (NodeEntry,),
        {name: _passed_on(name) for name, it in methods.items() if inspect.isfunction(it) and not name.startswith("_")},
    )


def _passed_on(name: str) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        return getattr(self._host, name)(*arguments, **named)

    call.__name__ = name
    return call


def _fetched(archive: Sequence[Any]) -> bytes:
    import ray

    return bytes(ray.get(archive[0]))


def unseen(token: Mapping[str, str] | None) -> str:
    """Why this machine does not read what the driver has just written to the study's folder; empty: it does.

    Args:
        token: `path` and `content` of what was written; None: the folder is seen for sure.
    """
    if token is None:
        return ""
    try:
        seen = Path(token["path"]).read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "another file is there"
    return "" if seen == token["content"] else "another file is there"


def refusal(token: Mapping[str, str], why: str) -> str:
    """What is said of a node that does not see the study's folder where the store is in that folder."""
    return (
        f"{os.uname().nodename} does not see the study's folder: {token['path']}: {why}; with store.kind: files "
        "all nodes need it: put ECHO_MATRIX_HOME on a file system that they share, or the results on S3 "
        f"(store: {{kind: s3, url: ...}}), which needs no shared folder ({GUIDE})"
    )


def settings_apart(settings: Mapping[str, Any], why: str, archive: Callable[[], bytes]) -> Mapping[str, Any]:
    """The settings of a host on a node that does not see the study's folder: with folders of this node, made here.

    `home_here` among them is the study's folder on this node, as `host.scratch` has it.

    Raises:
        RuntimeError: the store is in the folder that is not seen, or no scratch folder can be made.
    """
    if settings["store"]["kind"] == "files":
        raise RuntimeError(refusal(settings["token"], why))
    try:
        root = scratch_root(settings.get("scratch") or "")
        code = root / "code" / settings["digest"]
        code.parent.mkdir(exist_ok=True)
        if not holds_code(code, settings["digest"]):
            unpack_code(archive(), settings["digest"], code)
        home = root / "studies" / settings["study"]
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(f"{os.uname().nodename} has no scratch folder for the study: {error}") from error
    except ValueError as error:
        raise RuntimeError(f"{os.uname().nodename}: {error}") from error
    command = settings["command"]
    return {
        **settings,
        "code": str(code),
        "store": {**settings["store"], "folder": str(home / "store")},
        # The driver's interpreter is a path on the driver's machine.
        "command": [sys.executable if command[0] == settings["python"] else command[0], *command[1:]],
        "home_here": str(home),
    }


def scratch_parent(setting: str) -> Path:
    """The node's scratch folder, of all users; `setting` as for `scratch_root`."""
    return Path(os.environ.get(SCRATCH) or setting or tempfile.gettempdir()).absolute()


def scratch_root(setting: str) -> Path:
    """The user's folder below the node's scratch folder, which nobody else can enter; made if it is not there.

    Args:
        setting: `ray.scratch`; empty: the system's temporary folder.

    Raises:
        OSError: it cannot be made, or is another user's.
    """
    above = scratch_parent(setting)
    above.mkdir(parents=True, exist_ok=True)
    root = above / f"echo-matrix-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    about = root.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise PermissionError(
            f"{root}: is not a folder that only this user writes to; remove it, or set {SCRATCH} on this node"
        )
    return root
