"""Parts of large files: how large they are, and threads that move them."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from functools import partial
from types import TracebackType
from typing import Self

THREADS = 10
"""Requests at a time; memory for as many parts is in use."""
FILES = 4
"""Large files at a time."""
PART = 8 << 20  # bytes
LARGE = 2 * PART
"""Bytes; a larger file travels in parts."""
MOST_PARTS = 10_000  # of one object, in S3


def part_size(size: int) -> int:
    """Bytes of each part but the last of a file of `size` bytes; the same whenever it is asked."""
    if size <= LARGE:
        return max(1, size)
    whole_mib = -(-size // MOST_PARTS >> 20) + 1 if size > PART * MOST_PARTS else 0
    return max(PART, whole_mib << 20)


def part_count(size: int) -> int:
    """Parts of a file of `size` bytes; one of an empty file."""
    return max(1, -(-size // part_size(size)))


class Workers:
    """Threads for small files and parts, and threads that each see to one large file; all end with the block.

    After an error, what has not begun is not begun.
    """

    def __init__(self) -> None:
        self._requests = ThreadPoolExecutor(THREADS, "s3-request")
        self._files = ThreadPoolExecutor(FILES, "s3-file")
        self._futures: list[Future[None]] = []
        self._stopped = threading.Event()

    def small(self, do: Callable[[], None]) -> None:
        """Call `do` in a thread for requests."""
        self._futures.append(self._requests.submit(self._unless_stopped, do))

    def large(self, do: Callable[[], None]) -> None:
        """Call `do`, which calls `parts`, in a thread for a large file."""
        self._futures.append(self._files.submit(self._unless_stopped, do))

    def parts(self, do: Callable[[int], None], numbers: Iterable[int]) -> None:
        """Call `do` with each number in the threads for requests, and wait until all have ended.

        Raises the first error; after it, no other call is begun.
        """
        failed = threading.Event()

        def one(number: int) -> None:
            if failed.is_set():
                return
            try:
                do(number)
            except BaseException:
                failed.set()
                raise

        futures = [self._requests.submit(self._unless_stopped, partial(one, number)) for number in numbers]
        wait(futures)
        for future in futures:
            future.result()

    def _unless_stopped(self, do: Callable[[], None]) -> None:
        if self._stopped.is_set():
            raise CancelledError
        do()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for future in wait(self._futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
        finally:
            self._stopped.set()
            self._files.shutdown(cancel_futures=True)
            self._requests.shutdown(cancel_futures=True)
