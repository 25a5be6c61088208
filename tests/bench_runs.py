"""Runs that several tests need: killed ones, and one with everything that a page tells apart."""

from base64 import b64decode

import numpy as np

from xai.bench import read_records
from xai.bench.run.image_snapshots import read_snapshots
from xai.core import Record

BLUR = {"name": "blur", "kernel": 5, "sigma": 2.0}
GREY = {"name": "constant", "value": 0.5, "space": "pixel"}
CHECKS = ["class_sensitivity", "randomization", "sensitivity_max", "infidelity"]
EVERYTHING = {
    "methods": [
        "gradient_weighted_attention",
        {"name": "signed", "method": "gradient_weighted_attention", "options": {"clamp": None}},
        "attention_rollout",
    ],
    "controls": {"random_seeds": 2, "greedy_images": 1},
    "protocols": [
        {"base": "vit-token", "name": "token", "steps": 4},
        {"base": "vit-mean", "name": "mean", "steps": 4},
        {"base": "vit-mean", "name": "grey", "steps": 4, "operator": GREY, "insertion_operator": "minimum"},
        {"base": "vit-mean", "name": "drawn", "steps": 4, "tie_draws": 3, "sign": "absolute"},
        {"base": "vit-mean", "name": "blur", "steps": 4, "operator": BLUR},
        {"base": "rise", "name": "pixels", "step_units": 256},
        {"base": "vit-mean", "name": "true", "steps": 4, "target": "label"},
    ],
    "metrics": ["srg", "deletion", "insertion", "lerf", "gini", "rank_accuracy"],
    "checks": {"metrics": CHECKS, "images": 2},
}  # fmt: skip
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
    print(os.WTERMSIG(status), done(), len(list(parts.glob(".xai-writing-*"))))
"""


def records(run):
    """Everything but cost, in a fixed order."""
    frame = read_records(run).drop(columns=COST)
    frame["curve"], frame["fractions"] = frame["curve"].map(tuple), frame["fractions"].map(tuple)
    return frame.sort_values(["image", "method", "metric", "protocol"], ignore_index=True)


def snapshots(run):
    """What a run keeps of its images, in the order of its shards."""
    return [one for path in sorted((run / "views").iterdir()) for one in read_snapshots(path) or ()]


def decoded(text):
    return np.frombuffer(b64decode(text), "<u2").astype(int)


def grid(found):
    values = np.frombuffer(b64decode(found.values), "<i2").reshape(found.rows, found.cols)
    return values / 32767 * found.limit


def record(image, method, metric, value, curve=(), **more):
    """A record as if it had been measured; a quarter of the images are real."""
    said = {
        "image": str(image),
        "group": str(image),
        "label": "fake" if image % 4 else "real",
        "kind": None,
        "target": "fake",
        "method": method,
        "control": method not in ("good", "useless"),
        "metric": metric,
        "protocol": "mean",
        "value": value,
        "curve": curve,
        "fractions": (0.0, 1.0) if curve else (),
        "saturated": image == 0 or (image == 1 and method == "good"),
        "tie_fraction": 0.25,
        "clean": 3.0,
        "baseline": 1.0 if image < 10 else -1.0,
        "seconds": 0.5,
        "protocol_hash": "b45ce025ba13",
        "image_hash": f"h{image}",
    }
    return Record(**(said | more))
