"""Runs that are killed, and what of their records must be equal."""

from xai.bench import read_records

COST = ["seconds", "peak_bytes"]

VICTIM = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from xai.bench import run_benchmark
from xai.perturb import Stream

config, out = sys.argv[1:]

def dying(original, when):
    def call(self, *args, **options):
        if when(self):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *args, **options)
    return call

parts = Path(out) / "parts"
done = lambda: len(list(parts.glob("*.parquet")))
for moment in ("write", "forward"):
    child = os.fork()  # nothing was computed yet; importing takes longer than everything else
    if child == 0:
        if moment == "write":  # the third part is written but not yet renamed
            Path.replace = dying(Path.replace, lambda path: path.parent.name == "parts" and done() == 2)
        else:  # the first unit of the next shard is in work
            Stream.evaluate = dying(Stream.evaluate, lambda stream: done() == 4)
        run_benchmark(config, out)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status), done(), len(list(parts.glob(".writing-*"))))
"""


def records(run):
    """Everything but cost, in a fixed order."""
    frame = read_records(run).drop(columns=COST)
    frame["curve"], frame["fractions"] = frame["curve"].map(tuple), frame["fractions"].map(tuple)
    return frame.sort_values(["image", "method", "metric", "protocol"], ignore_index=True)
