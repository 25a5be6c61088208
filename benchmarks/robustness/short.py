"""The part of `fuzz` and `kills` that runs in continuous integration, and a look at whether they notice.

python -m benchmarks.robustness.short RESULTS.json
"""

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from benchmarks.robustness import sandbox
from benchmarks.robustness.fuzz import SHARES, prepared, run
from benchmarks.robustness.kills import Bench, kill_at
from benchmarks.robustness.tasks import tasks
from benchmarks.robustness.watch import MARKER

SEED, EACH = 0, 4
MOMENTS = (("explain", "SIGKILL"), ("benchmark", "SIGKILL"), ("forge", "SIGTERM"), ("report", "SIGINT"))


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="xai-short-"))
    began = time.monotonic()
    try:
        valid = prepared(base, few=True)
        cases = [(kind, index) for kind in SHARES for index in range(EACH)]
        found = [
            {"kind": kind, "index": index, **ending.as_dict()}
            for kind, index, ending in run(cases, valid, SEED, base, min(2, os.cpu_count() or 1), None)
        ]
        bench = Bench(base / "bench", tasks(valid))
        kills = {}
        for name, sign in MOMENTS:
            at = Random(f"{SEED}:{name}").randrange(1, bench.whole(name).changes + 1)
            kills[name] = kill_at(bench, name, [(sign, at)])
        content = {
            "cases": found,
            "kills": kills,
            "noticed": noticed(base),
            "seconds": time.monotonic() - began,
        }
        Path(sys.argv[1]).write_text(json.dumps(content))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def noticed(base: Path) -> dict[str, str]:
    """What is said of commands that run code, hang, die, or write where they must not."""
    elsewhere = base / "elsewhere"
    faults = {
        "marker": lambda: Path(MARKER).touch(),
        "process": lambda: os.system("true"),  # noqa: S605, S607
        "outside": lambda: elsewhere.write_text("x"),
        "signal": os.abort,
        "hang": lambda: time.sleep(60),
        "none": lambda: None,
    }
    return {
        name: sandbox.run(lambda _: ["methods"], base / name, limit=3, before=before).fault
        for name, before in faults.items()
    }


if __name__ == "__main__":
    main()
