"""Pages of 2 MiB for what a warm server has imported, so that its forks are short.

A fork copies an entry for each page that its parent has written, and its end removes them: 65,000 for the 260 MB of
torch and DeepSpeed in pages of 4 KiB, which takes longer than many a job. Linux 6.1 and later moves them into pages of
2 MiB when asked.
"""

import ctypes
from pathlib import Path

HUGE_PAGE = 2 << 20
MADV_COLLAPSE = 25
"""Of madvise(2)."""
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Move the memory that this process has written into huge pages, as far as the kernel can.

    Nothing happens where an administrator has turned huge pages off, or the kernel is older: then forks take longer.
    """
    if not SETTING.exists() or "[never]" in SETTING.read_text(encoding="utf-8"):
        return
    madvise = ctypes.CDLL(None).madvise
    for start, end in whole_huge_pages(Path("/proc/self/maps").read_text(encoding="utf-8")):
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_COLLAPSE)


def whole_huge_pages(maps: str) -> list[tuple[int, int]]:
    """First and last address of the whole huge pages in each writable memory without a file.

    Args:
        maps: /proc/PID/maps, see proc_pid_maps(5).
    """
    found: list[tuple[int, int]] = []
    for line in maps.splitlines():
        addresses, access, _offset, _device, _inode, *name = line.split(maxsplit=5)
        if access == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in addresses.split("-"))
            first, last = -(-start // HUGE_PAGE) * HUGE_PAGE, end // HUGE_PAGE * HUGE_PAGE
            if first < last:
                found.append((first, last))
    return found
