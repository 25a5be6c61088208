"""A survey of 10 000 crops that is killed once on the way and goes on, and the small results of it.

    python benchmarks/survey_run.py                 # an hour on one busy core; goes on where it was stopped
    python benchmarks/survey_run.py --config FILE --out RUN --kill-after 3

Runs `xai survey CONFIG`, ends it with SIGKILL once so many work items are written, and runs the same command
again. Summary, figure and page go to reports/survey/, and what was measured of the two calls to run.md.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "survey"
FILES = ("summary.md", "report.html", "maps.png")
NOTE = "killed.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "survey.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "attention_results" / "survey-10000")
    parser.add_argument("--kill-after", type=int, default=40, help="work items that are written by then")
    options = parser.parse_args()
    command = [sys.executable, "-m", "xai", "survey", str(options.config), "--out", str(options.out)]
    note = options.out / NOTE
    if not note.exists():
        written = killed(command, options.out, options.kill_after)
        note.write_text(json.dumps({"work_items_written": written}))
    done, start = parts(options.out), time.monotonic()
    code, peak = finished(command)
    told = json.loads(note.read_text()) | {"written_when_it_went_on": done, "exit_code": code}
    if done < parts(options.out):  # a call that only sums up again has nothing to say of the work
        told |= {"seconds": round(time.monotonic() - start), "peak_mib": peak}
        note.write_text(json.dumps(told))
    told = json.loads(note.read_text()) | {"work_items": parts(options.out)}
    REPORT.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(options.out / name, REPORT / name)
    (REPORT / "run.md").write_text(page(told, options.config))


def parts(run: Path) -> int:
    """How many work items are written."""
    return len(list((run / "parts").glob("*.parquet")))


def killed(command: list[str], run: Path, after: int) -> int:
    """Begin, and end it with a signal that no process can catch."""
    process = subprocess.Popen(command)  # noqa: S603 - our own
    while parts(run) < after:
        if process.poll() is not None:
            raise SystemExit(f"It ended by itself with {process.returncode}.")
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise SystemExit(f"It ended with {process.returncode}, not by SIGKILL.")
    return parts(run)


def finished(command: list[str]) -> tuple[int, int]:
    """Run it to its end: exit code, and the most memory it held, in MiB."""
    process = subprocess.Popen(command)  # noqa: S603 - our own
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(f"The second call ended with {code}.")
    return code, usage.ru_maxrss // 1024


def page(told: dict[str, int], config: Path) -> str:
    """What the two calls did."""
    return f"""# A survey killed once

`xai survey {config.relative_to(ROOT)}` by `benchmarks/survey_run.py`.

| | |
|---|---|
| work items | {told["work_items"]} |
| written when it was ended by SIGKILL | {told["work_items_written"]} |
| there when the same command went on | {told["written_when_it_went_on"]} |
| seconds of the second call, the summary included | {told["seconds"]} |
| most memory of the second call | {told["peak_mib"]} MiB |

The machine was shared with other work: the seconds say what it took there, not what it must take.
"""


if __name__ == "__main__":
    main()
