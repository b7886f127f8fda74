"""The BLAS libraries of this process as they compute now.

To find them, every loaded library is looked at: for a process with torch some hundred paths, a third of what a short
job costs. So they are looked for again only once another library has been loaded, and a warm server looks before it
forks.
"""

import ctypes
import importlib
from typing import Any


class _LoadedObject(ctypes.Structure):
    """`struct dl_phdr_info`, see dl_iterate_phdr(3)."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("num_headers", ctypes.c_uint16),
        ("loaded_so_far", ctypes.c_ulonglong),
        ("unloaded_so_far", ctypes.c_ulonglong),
    )


_Visit = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_LoadedObject), ctypes.c_size_t, ctypes.c_void_p)


def loaded_libraries() -> tuple[int, int]:
    """How many shared libraries this process has loaded so far, and how many it has unloaded."""
    found: list[tuple[int, int]] = []

    def visit(one: Any, _size: int, _data: int | None) -> int:
        found.append((one.contents.loaded_so_far, one.contents.unloaded_so_far))
        return 1  # the counts are those of the process in each of its objects: one is enough

    ctypes.CDLL(None).dl_iterate_phdr(_Visit(visit), None)
    return found[0]


class BlasLibraries:
    """Those that this process has loaded."""

    def __init__(self) -> None:
        self._of: tuple[int, int] | None = None
        self._found: list[Any] = []

    def find(self) -> list[Any]:
        """A controller of `threadpoolctl` for each; it is imported now."""
        now = loaded_libraries()
        if self._of != now:
            control: Any = importlib.import_module("threadpoolctl")
            self._found = control.ThreadpoolController().select(user_api="blas").lib_controllers
            self._of = loaded_libraries()  # with those that the import has loaded
        return self._found

    def described(self) -> list[str]:
        """Version of each, the processor it has chosen kernels for, its threads; sorted."""
        told = [one.info() for one in self.find()]
        return sorted(
            f"{one['internal_api']} {one['version']}, {one.get('architecture', 'any')}, threads {one['num_threads']}"
            for one in told
        )


BLAS = BlasLibraries()
"""Of this process; forks begin with what it has found."""
