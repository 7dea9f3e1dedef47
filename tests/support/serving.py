"""``lit-inpaint app`` in real processes: forks of one that has imported Gradio."""

import os
import tempfile
from multiprocessing.connection import Connection

from experiments.app.command import main
from tests.support import processes


def app_in(temporary: str, port: int) -> int:
    """With a folder of temporary files of its own."""
    tempfile.tempdir = temporary
    return main(["--methods", "Telea", "--port", str(port), "--device", "cpu"])


def fork_apps(pipe: Connection, temporary: str) -> int:
    """(folder, port) in: the number of a new process out; a number in: its exit code out; None ends."""
    import experiments.app.page  # noqa: F401

    while (asked := pipe.recv()) is not None:
        if isinstance(asked, int):
            pipe.send(os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1]))
        elif pid := os.fork():
            pipe.send(pid)
        else:
            folder, port = asked
            os.makedirs(folder)
            try:
                processes._run(app_in, (temporary, port), folder, "log.txt", {})
            except SystemExit as end:
                os._exit(int(end.code or 0))
    return 0
