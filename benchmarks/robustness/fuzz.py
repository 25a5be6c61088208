"""Hostile and broken input against the command line: each must end with a documented exit code.

    python -m benchmarks.robustness.fuzz                       # 10 400 cases, under an hour on two cores
    python -m benchmarks.robustness.fuzz --only checkpoint:17  # one case, its files kept

Case k of a kind and a seed is the same everywhere (but for the finished run, which holds measured seconds).
Interrupted, the same command goes on. Nothing is downloaded, payloads make a file and do nothing else.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from benchmarks.robustness import sandbox
from benchmarks.robustness.sandbox import Ending, Make
from benchmarks.robustness.valid import Valid

CASES = 10_400
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "attention_results" / "robustness"
SHARES = {
    "image": 24,
    "yaml_detector": 12,
    "yaml_method": 8,
    "yaml_benchmark": 12,
    "checkpoint": 12,
    "folder": 8,
    "manifest": 8,
    "shard": 7,
    "boxes": 3,
    "run": 10,
}
"""Of all cases, in parts; their sum is 104."""


def makers() -> dict[str, Callable[[Random, Valid, Path], list[str]]]:
    """Kind → what makes its input and says the command."""
    from benchmarks.robustness import checkpoints, folders, images, runs, shards, tables, yamls

    return {
        "image": images.make,
        "yaml_detector": yamls.detector,
        "yaml_method": yamls.method,
        "yaml_benchmark": yamls.benchmark,
        "checkpoint": checkpoints.make,
        "folder": folders.make,
        "manifest": tables.manifest,
        "shard": shards.make,
        "boxes": tables.boxes,
        "run": runs.make,
    }


def plan(cases: int) -> list[tuple[str, int]]:
    """Kind and index of each case; kinds take turns, so that an interrupted run has seen all of them."""
    whole = sum(SHARES.values())
    counts = {kind: max(1, round(cases * share / whole)) for kind, share in SHARES.items()}
    placed = [
        ((index + 0.5) / count, kind, index) for kind, count in counts.items() for index in range(count)
    ]
    return [(kind, index) for _, kind, index in sorted(placed)]


def make_of(valid: Valid, seed: int, kind: str, index: int) -> Make:
    """Makes the input of one case; the same for the same seed, kind and index."""
    return lambda folder: makers()[kind](Random(f"{seed}:{kind}:{index}"), valid, folder)


def sources() -> str:
    """What tells one state of the product and of this fuzzer from another."""
    whole = hashlib.sha256()
    programs = [path for path in Path(__file__).parent.glob("*.py") if path.name != "publish.py"]
    for path in sorted([*(ROOT / "xai").rglob("*.py"), *programs]):
        whole.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return whole.hexdigest()[:16]


class Journal:
    """Endings as they come, one JSON line each; read back by the next run.

    Args:
        path: The file.
        header: Seed and sources; a journal of others is refused.
        fresh: Whether to begin anew.
    """

    def __init__(self, path: Path, header: dict, fresh: bool):
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        self.done: dict[tuple[str, int], dict] = {}
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if lines:
            if json.loads(lines[0]) != header:
                raise SystemExit(f"{path} is of other sources or another seed; --fresh begins anew.")
            for line in lines[1:]:
                try:
                    one = json.loads(line)
                except ValueError:  # cut off when this program was killed
                    continue
                self.done[one["kind"], one["index"]] = one
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n" if lines else json.dumps(header) + "\n")

    def add(self, kind: str, index: int, ending: Ending) -> None:
        one = {"kind": kind, "index": index, **ending.as_dict()}
        if not ending.fault:
            del one["output"]
        self.write(one)

    def write(self, one: dict) -> None:
        """One line, on disk at once."""
        self.done[one["kind"], one["index"]] = one
        self._file.write(json.dumps(one) + "\n")
        self._file.flush()


def run(
    cases: list[tuple[str, int]], valid: Valid, seed: int, scratch: Path, workers: int, keep: Path | None
) -> Iterator[tuple[str, int, Ending]]:
    """Each case's ending. One that hangs is tried once more: the machine may have been busy.

    Args:
        cases: Kinds and indices.
        valid: Valid inputs, which are there.
        seed: Of everything.
        scratch: Folder for the cases.
        workers: How many at once.
        keep: Where folders of failed cases go.
    """
    again: list[tuple[str, int]] = []
    for batch, last, many in ((cases, False, workers), (again, True, 1)):
        jobs = ((scratch / f"{kind}-{index}", make_of(valid, seed, kind, index)) for kind, index in batch)
        for folder, ending in sandbox.run_many(jobs, many):
            kind, _, index = folder.name.rpartition("-")
            if ending.hang and not last:
                again.append((kind, int(index)))
            else:
                if ending.fault and keep is not None:
                    _keep(folder, keep / folder.name)
                if ending.code == 1:
                    ending.where = _where(
                        make_of(valid, seed, kind, int(index)), scratch / f"debug-{folder.name}"
                    )
                yield kind, int(index), ending
            _remove(folder)


def _where(make: Make, folder: Path) -> str:
    """Where the product's error comes from: the same case once more, with its traceback."""
    ending = sandbox.run(lambda place: [*make(place), "--debug"], folder)
    _remove(folder)
    return sandbox.deepest(ending.output)


def _keep(folder: Path, place: Path) -> None:
    _remove(place)
    shutil.copytree(folder, place, symlinks=True, ignore=_no_pipes, ignore_dangling_symlinks=True)


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (path := Path(folder, name)).is_fifo() or path.is_socket()]


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def prepared(scratch: Path, few: bool = False) -> Valid:
    """Valid inputs in the folder, and everything imported that commands import; `few`: that most do."""
    sandbox.prepare(scratch / "caches")
    valid = Valid(scratch / "valid")
    sandbox.load("xai.cli.main", *valid.libraries)  # first, so that what makes the inputs inherits them too
    sandbox.in_child(valid.write)
    sandbox.preload(scratch / "warm", valid.commands()[: 3 if few else None])
    makers()
    return valid


def main() -> None:
    options = _options()
    base = Path(tempfile.mkdtemp(prefix="xai-fuzz-"))
    try:
        valid = prepared(base)
        if options.only:
            _one(options, valid, base)
            return
        header = {"seed": options.seed, "sources": sources()}
        journal = Journal(options.out / f"fuzz-{options.seed}.jsonl", header, options.fresh)
        todo = [case for case in plan(options.cases) if case not in journal.done]
        if options.kinds:
            todo = [case for case in todo if case[0] in options.kinds]
        print(f"{len(todo)} cases to do, {len(journal.done)} done before.", flush=True)
        began = time.monotonic()
        keep = options.out / "failures"
        for number, (kind, index, ending) in enumerate(
            run(todo, valid, options.seed, base, options.workers, keep), 1
        ):
            journal.add(kind, index, ending)
            if ending.fault:
                print(f"{kind}:{index} {ending.fault} {ending.where}", flush=True)
            if number % 200 == 0:
                print(
                    f"{number} of {len(todo)}, {number / (time.monotonic() - began):.1f} a second", flush=True
                )
        faults = [one for one in journal.done.values() if one["fault"]]
        print(f"{len(journal.done)} cases, {len(faults)} failed; folders and commands: {keep}/")
        raise SystemExit(1 if faults else 0)
    finally:
        _remove(base)


def _one(options: argparse.Namespace, valid: Valid, base: Path) -> None:
    kind, _, index = options.only.partition(":")
    for *_, ending in run([(kind, int(index))], valid, options.seed, base, 1, None):
        place = options.out / "only"
        _remove(place)
        print(json.dumps(ending.as_dict(), indent=1))
    # made anew outside the scratch folder, so that the command can be run by hand
    kept = Valid(place / "valid")
    sandbox.in_child(kept.write)
    shutil.copytree(valid.run, kept.run)
    make = make_of(kept, options.seed, kind, int(index))
    folder = place / f"{kind}-{index}"
    (folder / "work").mkdir(parents=True)
    said: list[str] = []
    sandbox.in_child(
        lambda: (folder / "command.json").write_text(json.dumps([str(one) for one in make(folder)])) and None
    )
    said = json.loads((folder / "command.json").read_text())
    import shlex

    print(f"\ncd {folder / 'work'} && xai {shlex.join(said)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", metavar="KIND:INDEX", help="one case, its files kept")
    parser.add_argument("--kinds", nargs="*", choices=list(SHARES), help="only cases of these")
    parser.add_argument("--out", type=Path, default=RESULTS, help="journal and failures")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs did")
    return parser.parse_args()


if __name__ == "__main__":
    main()
