"""BLAS libraries: found where they are loaded, and looked for again only then."""

import subprocess
import sys

import numpy as np

from workloads.runtime.blas import BlasLibraries

LATER = """
from workloads.runtime.blas import BLAS
before = BLAS.described()
import numpy
after = BLAS.described()
print(before, len(after), BLAS.find() is BLAS.find())
"""


def test_a_library_that_is_loaded_later_is_found_and_otherwise_none_is_looked_for() -> None:
    done = subprocess.run([sys.executable, "-c", LATER], check=True, capture_output=True, text=True)
    assert done.stdout == "[] 1 True\n"


def test_threads_are_those_of_now() -> None:
    assert np.ones(1).sum() == 1
    found = BlasLibraries()
    library, *_ = found.find()
    before, told = library.num_threads, set()
    try:
        for threads in (1, 2):
            library.set_num_threads(threads)
            assert any(line.endswith(f", threads {threads}") for line in found.described())
            told.add(tuple(found.described()))
    finally:
        library.set_num_threads(before)
    assert len(told) == 2
