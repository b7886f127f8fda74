"""The registry of backends: names to plug-ins, each imported when it is first asked for.

The built-in ones are found without installed metadata too: a job runs from a copy of the code.
"""

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from orchestrator.backends.plugin import BackendPlugin
from orchestrator.errors import BackendError
from orchestrator.spec.cluster import Cluster
from orchestrator.spec.lines import listed, nearest

GROUP = "echo_matrix.backends"
"""Entry points of this group add backends, or replace a built-in one of the same name."""
BUILT_IN: Mapping[str, str] = {
    "ray": "orchestrator.backends.ray.plugin:PLUGIN",
    "slurm": "orchestrator.backends.slurm.plugin:PLUGIN",
    "fake": "orchestrator.backends.fake.plugin:PLUGIN",
}
"""Name -> `module:attribute`; pyproject.toml lists the same."""


class BackendRegistry(Mapping[str, BackendPlugin]):
    """Name -> plug-in."""

    def __init__(self) -> None:
        """Look up the names; nothing is imported yet."""
        self._places = dict(BUILT_IN)
        self._loaded: dict[str, BackendPlugin] = {}
        for point in importlib.metadata.entry_points(group=GROUP):
            self._add(point.name, point.value)

    def _add(self, name: str, place: str) -> None:
        known = self._places.get(name)
        built_in = BUILT_IN.get(name)
        if place in (known, built_in):
            return
        if known not in (None, built_in):
            raise BackendError(
                f"two installed packages offer a backend {name!r}: {known} and {place}; uninstall one of them"
            )
        self._places[name] = place

    def __getitem__(self, name: str) -> BackendPlugin:
        if name not in self._loaded:
            self._loaded[name] = load_plugin(name, self._places[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def load_plugin(name: str, place: str) -> BackendPlugin:
    """The plug-in at `module:attribute`.

    Raises:
        BackendError: it cannot be imported, or is none of this name.
    """
    module, _, attribute = place.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BackendError(
            f"backend {name!r} cannot be loaded from {place} ({error}); reinstall its package, or uninstall it"
        ) from error
    if not isinstance(found, BackendPlugin) or found.name != name:
        raise BackendError(f"{place} is not the BackendPlugin of a backend {name!r} but {found!r}; correct its package")
    keys = [field.name for field in fields(Cluster) if field.name not in ("backend", "sections")]
    for key in found.defaults:
        if key not in keys:
            raise BackendError(f"{place}: defaults has {key!r}{nearest(key, keys)}{listed(keys)}; correct its package")
    return found


@cache
def backends() -> BackendRegistry:
    """All backends that are installed."""
    return BackendRegistry()


def backend_plugin(name: str) -> BackendPlugin:
    """The backend called `name`.

    Raises:
        BackendError: no such backend; says which there are.
    """
    known = backends()
    if name not in known:
        raise BackendError(f"backend is {name!r}{nearest(name, known)}{listed(map(repr, known))}")
    return known[name]
