"""A survey of 10 000 crops that is killed once on the way and goes on, and the small results of it.

    python benchmarks/survey_run.py                 # an hour on one busy core; goes on where it was stopped
    python benchmarks/survey_run.py --limit 600     # some minutes: the first 600 crops alone
    python benchmarks/survey_run.py --config FILE --out RUN --kill-after 3

Runs `xai survey CONFIG`, ends it with SIGKILL once so many work items are written, and runs the same command
again. Summary and figure go to reports/survey/, and what was measured of the two calls to run.md; of the
first crops alone only the latter, to run-600.md.
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

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pictures import to_webp

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "survey"
NOTE = "killed.json"
FEW = 600  # images of a survey that should need as much memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "survey.yaml")
    parser.add_argument("--out", type=Path, default=ROOT / "attention_results" / "survey-10000")
    parser.add_argument("--kill-after", type=int, help="work items that are written by then")
    parser.add_argument("--limit", type=int, help="so many images, the first")
    options = parser.parse_args()
    run: Path = options.out
    command = [sys.executable, "-m", "xai", "survey", str(options.config), "--out", str(run)]
    if options.limit is not None:
        run = options.out.with_name(f"{options.out.name}-{options.limit}") / "run"
        command = limited(options.config, options.limit, run)
    note = run / NOTE
    if not note.exists():
        after = options.kill_after or (40 if options.limit is None else 2)
        written = killed(command, run, after)
        note.write_text(json.dumps({"work_items_written": written}))
    before, start = parts(run), time.monotonic()
    peak = finished(command)
    told = json.loads(note.read_text())
    if before < parts(run):  # else this call only summed up again
        told |= {"there": before, "seconds": round(time.monotonic() - start), "peak_mib": peak}
    if options.limit is None and "few_peak_mib" not in told:
        few = limited(options.config, FEW, run.with_name(f"{run.name}-few") / "run")
        told["few_peak_mib"] = finished(few)
    note.write_text(json.dumps(told))
    REPORT.mkdir(parents=True, exist_ok=True)
    if options.limit is None:
        shutil.copyfile(run / "summary.md", REPORT / "summary.md")
        to_webp(run / "maps.png", REPORT / "maps.webp")
    name = "run.md" if options.limit is None else f"run-{options.limit}.md"
    (REPORT / name).write_text(page(told | {"work_items": parts(run)}, options.config, options.limit))


def limited(config: Path, images: int, run: Path) -> list[str]:
    """The command that surveys the first images only."""
    content = yaml.safe_load(config.read_text())
    content["data"]["limit"] = images
    run.parent.mkdir(parents=True, exist_ok=True)
    place = run.with_name("limited.yaml")
    place.write_text(yaml.safe_dump(content))
    return [sys.executable, "-m", "xai", "survey", str(place), "--out", str(run)]


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


def finished(command: list[str]) -> int:
    """Run it to its end; the most memory it held, in MiB."""
    process = subprocess.Popen(command)  # noqa: S603 - our own
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(f"It ended with {code}.")
    return usage.ru_maxrss // 1024


def page(told: dict[str, int], config: Path, limit: int | None) -> str:
    """What the two calls did."""
    which = "" if limit is None else f", of which the first {limit} images are surveyed,"
    few = told.get("few_peak_mib")
    return f"""# A survey killed once

`xai survey {config.relative_to(ROOT)}`{which} by `benchmarks/survey_run.py`.

| | |
|---|---|
| work items | {told["work_items"]} |
| written when it was ended by SIGKILL | {told["work_items_written"]} |
| there when the same command went on | {told["there"]} |
| seconds of the second call | {told["seconds"]} |
| most memory of the second call | {told["peak_mib"]} MiB |
{"" if few is None else f"| most memory of a survey of the first {FEW} of its images | {few} MiB |"}

The machine was shared with other work: the seconds say what it took there, not what it must take.
"""


if __name__ == "__main__":
    main()
