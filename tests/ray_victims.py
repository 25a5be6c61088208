"""Workers of a Ray cluster that die, and a driver that does."""

import os
import signal
from pathlib import Path

from xai.bench.run.ray_worker import Worker
from xai.core import UsageError

DRIVER = """
import os, signal, sys
from xai.bench import RayOptions, run_benchmark

def dying(state):
    if state.done >= 1:
        os.kill(os.getpid(), signal.SIGKILL)

config, out = sys.argv[1:]
run_benchmark(config, out, engine="ray", ray=RayOptions(workers=1), progress=dying)
"""
POISON = 1  # shard


def pid_of(context) -> int:
    return os.getpid()


def refusing(context) -> None:
    raise UsageError("This is refused", "as it would end a run here.")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class DiesOnce(Worker):
    """The first worker that has written a part, but not yet renamed it, dies."""

    def work(self, work):
        marker, replace = Path(self._context.folder) / "died", Path.replace

        def dying(path, target):
            if path.parent.name == "parts":
                try:
                    marker.touch(exist_ok=False)
                except FileExistsError:
                    return replace(path, target)
                die()
            return replace(path, target)

        Path.replace = dying
        return super().work(work)


class DiesOverOneShard(Worker):
    def work(self, work):
        if work.work_items[0].shard == POISON:
            die()
        return super().work(work)
