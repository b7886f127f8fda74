"""Memory of a warm server in huge pages."""

import os
import subprocess
import sys

import pytest

from workloads.runtime.huge_pages import HUGE_PAGE, SETTING, whole_huge_pages

MAPS = """\
00400000-00c00000 rw-p 00000000 fd:00 12  /usr/lib/python
00e00000-01700000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
7f0000300000-7f0000900000 rw-p 00000000 00:00 0
7f0001000000-7f0002000000 r--p 00000000 00:00 0
7fff00000000-7fff00800000 rw-p 00000000 00:00 0                  [stack]
"""
LOOK = """
import mmap
from pathlib import Path
from workloads.runtime.huge_pages import HUGE_PAGE, use_huge_pages
memory = mmap.mmap(-1, 8 * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(0, len(memory), mmap.PAGESIZE):
    memory[page] = 7
use_huge_pages()
assert all(memory[page] == 7 for page in range(0, len(memory), mmap.PAGESIZE))
(kib,) = (line.split()[1] for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if "AnonHuge" in line)
print(int(kib) * 1024 // HUGE_PAGE)
"""


def turned_on() -> bool:
    newest = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 1)
    return newest and SETTING.exists() and "[never]" not in SETTING.read_text(encoding="utf-8")


def test_only_whole_huge_pages_of_written_memory_are_asked_for() -> None:
    assert whole_huge_pages(MAPS) == [(0xE00000, 0x1600000), (0x7F0000400000, 0x7F0000800000)]
    assert all(address % HUGE_PAGE == 0 for pages in whole_huge_pages(MAPS) for address in pages)


@pytest.mark.skipif(not turned_on(), reason="the kernel has no huge pages to ask for")
def test_memory_is_in_huge_pages_afterwards_and_holds_what_it_held() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK], check=True, capture_output=True, text=True)
    assert int(done.stdout) >= 7
