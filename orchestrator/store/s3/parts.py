"""Parts of large files: how large they are, and threads that move them."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self

THREADS = 10
"""Requests at a time; memory for as many parts is in use."""
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
    """Threads that end with the block; after an error, what has not begun is not begun."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, "s3")
        self._futures: list[Future[None]] = []

    def submit(self, do: Callable[..., None], *given: Any) -> Future[None]:
        """Call `do(*given)` in a thread."""
        future = self._pool.submit(do, *given)
        self._futures.append(future)
        return future

    def wait(self, futures: Iterable[Future[None]] | None = None) -> None:
        """Wait for calls, by default for all that have not been waited for; raises the first error of one."""
        waiting = list(self._futures if futures is None else futures)
        done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
        self._futures = [future for future in self._futures if future not in done]
        for future in done:
            future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
