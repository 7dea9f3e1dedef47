"""Processes that work for a command and end with it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def workers(number: int, start: Callable[..., None] | None = None, *given: object) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes, which leave Ctrl-C to the command and end when it does, even by SIGKILL.

    Args:
        number: How many.
        start: Called in each with ``given`` before it works.
    """
    with ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), _begin, (start, given)) as pool:
        try:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit it
            try:
                for _ in range(number):
                    pool.submit(os.getpid)  # starts a process each
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield pool
        except BaseException:  # nobody waits for what they are doing
            for process in multiprocessing.active_children():
                process.kill()
            raise


def _begin(start: Callable[..., None] | None, given: tuple[object, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start:
        start(*given)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
