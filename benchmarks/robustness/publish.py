"""reports/robustness.md and .json from the journals of `fuzz` and `kills`.

    python -m benchmarks.robustness.publish
    python -m benchmarks.robustness.publish --again FOLDER   # where faults were mended and kinds run again

The journals of a folder given with --again are of a later state of the sources: their cases stand in the
tables, and what failed before them is listed as found and mended. Each state is named by a digest.
"""

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import processor
from benchmarks.robustness.fuzz import RESULTS, ROOT, SHARES, sources
from benchmarks.robustness.kills import TRIALS
from benchmarks.robustness.sandbox import DOCUMENTED, LIMIT
from xai.core.files import write_bytes

PACKAGES = ("torch", "transformers", "safetensors", "numpy", "pillow", "pyarrow", "pandas", "PyYAML")
FIGURES = ("lost", "doubled", "half_written", "temporary_after", "temporary_left", "failed")
SHOWN = 3  # cases named beside a group of equal failures


def fuzzed(rows: list[dict]) -> dict:
    """Figures per kind."""
    of_kind = defaultdict(list)
    for row in rows:
        of_kind[row["kind"]].append(row)
    return {
        kind: {
            "cases": len(of_kind[kind]),
            "codes": dict(sorted(Counter(str(row["code"]) for row in of_kind[kind]).items())),
            "failed": sum(bool(row["fault"]) for row in of_kind[kind]),
            "hangs": sum(row["hang"] for row in of_kind[kind]),
            "code_run": sum(row["marker"] or bool(row["seen"]) for row in of_kind[kind]),
            "messages": len({row["said"] for row in of_kind[kind]} - {""}),
            "slowest_seconds": max(row["seconds"] for row in of_kind[kind]),
            "peak_mb": max(row["peak_mb"] for row in of_kind[kind]),
        }
        for kind in SHARES
        if of_kind[kind]
    }


def failures(rows: list[dict]) -> list[dict]:
    """Equal failures together, the frequent first."""
    groups = defaultdict(list)
    for row in rows:
        if row["fault"]:
            groups[row["fault"], row.get("where", "")].append(f"{row['kind']}:{row['index']}")
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return [
        {"fault": fault, "where": where, "cases": len(cases), "such_as": cases[:SHOWN]}
        for (fault, where), cases in ordered
    ]


def tried(rows: list[dict]) -> dict:
    """Figures per trial and task."""
    found = {}
    for trial in TRIALS:
        for name in TRIALS[trial][1]:
            own = [row for row in rows if row["kind"] == f"{trial}:{name}"]
            if own:
                found[f"{trial}:{name}"] = {
                    "trials": len(own),
                    "signals": sum(len(row["moments"]) for row in own) if trial == "kill" else 0,
                    "codes": dict(sorted(Counter(str(code) for row in own for code in row["codes"]).items())),
                    "lost": sum(row["lost"] for row in own),
                    "doubled": sum(row["doubled"] for row in own),
                    "half_written": sum("half written" in row["fault"] for row in own),
                    "temporary_after": sum(row.get("hidden_after", 0) for row in own),
                    "temporary_left": sum(row["hidden_left"] for row in own),
                    "failed": sum(bool(row["fault"]) for row in own),
                }
    return found


def page(content: dict) -> str:
    """The figures in words and tables."""
    kinds, trials = content["fuzz"], content["trials"]
    cases, failed = (sum(one[key] for one in kinds.values()) for key in ("cases", "failed"))
    signals, lost, doubled = (
        sum(one[key] for one in trials.values()) for key in ("signals", "lost", "doubled")
    )
    lines = [
        "# Hostile and broken input, kills",
        "",
        f"{cases} cases of {len(kinds)} kinds against the command line, seed {content['seed']}: "
        f"{failed} failed. {signals} signals: {lost} records or files lost, {doubled} doubled.",
        "",
        f"A case fails where its exit code is none of {', '.join(map(str, DOCUMENTED))}, where a signal "
        f"ends it, where it takes more than {LIMIT:.0f} s, where a traceback is shown, where a payload ran "
        "or an audit hook saw a process, a connection, foreign code or a file written outside its folder. "
        "Messages: different first lines, numbers and paths apart. Peak memory holds 400 to 600 MB of "
        "libraries.",
        "",
        "| input | cases | exit 0 | 2 | 3 | 4 | failed | hangs | code run | messages | slowest | peak |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for kind, one in kinds.items():
        codes = " | ".join(str(one["codes"].get(code, 0)) for code in ("0", "2", "3", "4"))
        counts = " | ".join(str(one[key]) for key in ("failed", "hangs", "code_run", "messages"))
        cost = f"{one['slowest_seconds']:.1f} s | {one['peak_mb']:.0f} MB"
        lines.append(f"| {kind.replace('_', ' ')} | {one['cases']} | {codes} | {counts} | {cost} |")
    lines += ["", "## Killed, two at once, on a full disk", ""]
    if not any(name.startswith("full") for name in trials):
        lines += ["Full disks were left out: mounting a small one needs root.", ""]
    lines += [
        "Each time the command ran once more afterwards; its results are compared with those of an "
        "uninterrupted run: records of a benchmark, files of the other commands. A signal comes before a "
        "seeded change of a file, or after a seeded share of the command's time. Temporary files: hidden "
        "ones after the signal or the full disk, and after the next run.",
        "",
        "| trial | command | trials | exit codes | lost | doubled | half written | temporary | left "
        "| failed |",
        "|---|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in trials.items():
        trial, _, task = name.partition(":")
        codes = ", ".join(f"{code} × {count}" for code, count in one["codes"].items())
        said = [
            one[key]
            for key in ("lost", "doubled", "half_written", "temporary_after", "temporary_left", "failed")
        ]
        lines.append(
            f"| {WORDS[trial]} | {task} | {one['trials']} | {codes} | {' | '.join(map(str, said))} |"
        )
    lines += ["", "## Failures", ""]
    lines += table_of(content["failures"])
    if content["mended"]:
        lines += [
            "",
            "## Found and mended",
            "",
            "In the earlier state; the kinds concerned were run again.",
            "",
        ]
        lines += table_of(content["mended"])
    states = "; ".join(
        f"{what}: {', '.join(f'{count} of {state}' for state, count in found.items())}"
        for what, found in content["states"].items()
    )
    lines += ["", f"States of the sources, by digest: {states}."]
    versions = ", ".join(f"{name} {one}" for name, one in content["versions"].items())
    lines += ["", f"Made by `make robustness`. {content['machine']}; {versions}."]
    return "\n".join(lines) + "\n"


def table_of(groups: list[dict]) -> list[str]:
    """Failures as a table."""
    if not groups:
        return ["None."]
    lines = ["| cases | what | where | such as |", "|--:|---|---|---|"]
    for one in groups:
        what = one["fault"].replace("|", "\\|").replace("`", "'")
        lines.append(f"| {one['cases']} | `{what}` | {one['where']} | {', '.join(one['such_as'])} |")
    return lines


WORDS = {"kill": "signal", "pair": "two at once", "full": "full disk"}


@dataclass
class Journals:
    """What journals of one program say, the later ones in place of the earlier.

    Args:
        rows: By kind and index.
        mended: Rows that failed and were run again.
        states: Digest of the sources -> how many rows of it stand in the tables.
    """

    rows: dict[tuple[str, int], dict] = field(default_factory=dict)
    mended: list[dict] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Read a journal, if it is there."""
        if not path.exists():
            return
        header, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        rows = {(line["kind"], line["index"]): line | {"state": header["sources"]} for line in lines}
        self.mended += [self.rows[key] for key in rows if key in self.rows and self.rows[key]["fault"]]
        self.rows |= rows
        self.states = dict(Counter(row["state"] for row in self.rows.values()))


def gathered(folders: list[Path], name: str) -> Journals:
    """The journals of that name, from the earliest folder to the latest, which is of the sources here."""
    found = Journals()
    for folder in folders:
        found.add(folder / name)
    if not found.rows:
        raise SystemExit(f"No {name} in {', '.join(map(str, folders))}: run make robustness.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--journals", type=Path, default=RESULTS)
    parser.add_argument("--again", type=Path, nargs="*", default=[], help="folders of later journals")
    parser.add_argument("--out", type=Path, default=ROOT / "reports", help="folder of the two files")
    options = parser.parse_args()
    folders = [options.journals, *options.again]
    fuzz, kills = (gathered(folders, f"{name}-{options.seed}.jsonl") for name in ("fuzz", "kills"))
    if sources() not in fuzz.states | kills.states:
        raise SystemExit("All journals are of other sources than those here: run make robustness again.")
    cases, trials = (list(found.rows.values()) for found in (fuzz, kills))
    content = {
        "seed": options.seed,
        "machine": processor(),
        "versions": {name: version(name) for name in PACKAGES},
        "fuzz": fuzzed(cases),
        "trials": tried(trials),
        "failures": failures(cases + trials),
        "mended": failures(fuzz.mended + kills.mended),
        "states": {"fuzz": fuzz.states, "kills": kills.states},
    }
    write_bytes(options.out / "robustness.json", (json.dumps(content, indent=1) + "\n").encode())
    write_bytes(options.out / "robustness.md", page(content).encode())
    print(f"Wrote {options.out / 'robustness.md'} and .json")


if __name__ == "__main__":
    main()
