"""One command line in a forked process of its own: limits, what it did that it must not do, how it ended.

Importing torch and transformers takes seconds, so it is done once here and inherited. Nothing may have
started a thread in this process before it forks: everything that computes runs in children.
"""

import faulthandler
import gc
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.robustness.watch import MARKER, watching

LIMIT = 20.0  # seconds that a command may take
MEMORY = 3 << 30  # bytes that a command may ask for beyond what it inherits
FILE = 1 << 30  # bytes of the largest file that it may write
DOCUMENTED = (0, 2, 3, 4, 130, 143)
NOT_MADE = 121  # exit code of a child whose input could not be made: a fault of the fuzzer
TAIL = 12_000  # characters of the output that are kept

Make = Callable[[Path], Sequence[str]]


@dataclass
class Ending:
    """How a command ended.

    Args:
        code: Exit code; minus the signal's number where one ended it.
        seconds: Wall time.
        cpu: Seconds of computation.
        peak_mb: Most memory held, inherited libraries included.
        output: The end of stdout and stderr together.
        seen: What the audit hook saw that a reader of data must not do.
        marker: Whether a payload ran.
        hang: Whether it was killed since it took too long.
        made: Whether its input was made and the command began; if not, the fault is the fuzzer's.
        where: Line of the product where an error came from, or where it was when it hung.
    """

    code: int
    seconds: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0
    output: str = ""
    seen: list[str] = field(default_factory=list)
    marker: bool = False
    hang: bool = False
    made: bool = True
    where: str = ""

    @property
    def fault(self) -> str:
        """What is wrong with it, in one line without numbers and paths, so that equal ones are equal."""
        if not self.made:
            return f"the fuzzer could not make it: {self.code}, {plain(last_line(self.output))}"
        if self.marker:
            return "code ran: the payload's marker is there"
        if self.seen:
            return f"did what it must not: {plain(self.seen[0])}"
        if self.hang:
            return f"hang: more than {LIMIT:.0f} s"
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        internal = re.search(r"Internal error: .*", self.output)
        if internal or self.code not in DOCUMENTED:
            return plain(internal[0] if internal else f"exit {self.code}: {last_line(self.output)}")
        if "Traceback (most recent call last)" in self.output:
            return f"traceback shown: {plain(last_line(self.output))}"
        if self.code and not self.output.strip():
            return f"exit {self.code} without a word"
        return ""

    @property
    def said(self) -> str:
        """The first line that says what was wrong, without what differs from case to case."""
        found = re.search(r"^(Error|Failed|Usage|Internal error): .*", self.output, re.MULTILINE)
        return plain(found[0]) if found else ""

    def as_dict(self) -> dict:
        return asdict(self) | {"fault": self.fault, "said": self.said}


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no output")


def plain(text: str) -> str:
    """Without what differs from case to case."""
    text = re.sub(r"(/[\w.~+ -]+)+/?", "PATH", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", text)
    text = re.sub(r"\b0x[0-9a-f]+\b|-?\d[\d.e+]*", "N", text)
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:160]


def deepest(trace: str, *, newest_first: bool = False) -> str:
    """The product's innermost line in a traceback."""
    lines = re.findall(r'File "[^"]*/(xai/(?!cli/output)[^"]+)", line (\d+)', trace)
    return ":".join(lines[0 if newest_first else -1]) if lines else ""


def prepare(caches: Path) -> None:
    """Offline, one thread, caches of the libraries inside a folder of ours. Before torch is imported."""
    caches.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(caches / "hf"),
        "MPLCONFIGDIR": str(caches / "matplotlib"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),  # importing torch._dynamo makes it
        "XDG_CACHE_HOME": str(caches),
        "COLUMNS": "120",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    sys.dont_write_bytecode = True


def load(*names: str) -> None:
    """Import modules, with one thread for torch."""
    import torch

    torch.set_num_threads(1)
    for name in names:
        importlib.import_module(name)


def preload(folder: Path, commands: Iterable[Sequence[str]]) -> None:
    """Import what the commands import, found by running each once; then keep the collector off all that."""
    for number, command in enumerate(commands):
        place = folder / f"warm-{number}"
        said = place / "modules.json"
        ending = run(lambda _, command=command: command, place, limit=300, modules=said)
        if ending.code not in (0, 4):
            raise SystemExit(f"{' '.join(command)} ended with {ending.code}:\n{ending.output}")
        for name in json.loads(said.read_text()):
            try:
                importlib.import_module(name)
            except Exception:  # noqa: S112 - made by other modules as they are imported
                continue
        shutil.rmtree(place, ignore_errors=True)
    gc.collect()
    gc.freeze()


def in_child(function: Callable[[], None]) -> None:
    """Call in a process of its own, so that no thread of a library is left here; end if it fails."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise SystemExit("The valid inputs could not be made.")


def start(
    make: Make, folder: Path, before: Callable[[], None] | None = None, modules: Path | None = None
) -> int:
    """Fork a child that makes its input in `folder` and runs the command on it; returns its id.

    Args:
        make: Writes the input, says the command's arguments.
        folder: Of this case alone; the command runs in its subfolder `work`.
        before: Called in the child last before the command begins.
        modules: Where to write the names of the modules that the command imported.
    """
    (folder / "work").mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = NOT_MADE
        try:
            code = _child(make, folder, before, modules)
        except BaseException:
            traceback.print_exc()
        finally:  # whatever happens, a child never goes on as its parent
            os._exit(code)
    return pid


def _child(make: Make, folder: Path, before: Callable[[], None] | None, modules: Path | None) -> int:
    os.setsid()
    # a shell starts its background jobs deaf to this signal, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ["TMPDIR"] = str(folder / "tmp")
    _limit()
    try:
        arguments = [str(one) for one in make(folder)]
        (folder / "command.json").write_text(json.dumps(arguments))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return NOT_MADE
    os.chdir(folder / "work")
    stacks = (folder / "stacks.txt").open("w")
    before_modules = set(sys.modules)
    watching(folder)
    faulthandler.dump_traceback_later(LIMIT - 1, file=stacks)
    if before is not None:
        before()
    code = _call(arguments)
    if modules is not None:
        modules.write_text(json.dumps(sorted(set(sys.modules) - before_modules)))
    return code


def _call(arguments: list[str]) -> int:
    """What the installed command does, its exit code."""
    from xai.cli.main import main

    sys.argv = ["xai", *arguments]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return 1
    if isinstance(code, str):
        os.write(2, code.encode())
        return 1
    return int(code or 0) & 0xFF  # pyrefly: ignore[bad-argument-type]


def _limit() -> None:
    held = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")
    )
    most = int(held.split()[1]) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def kill(pid: int) -> None:
    """The child and what it may have started: it leads a group of its own."""
    for end in (os.killpg, os.kill):
        try:
            end(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def ending(pid: int, folder: Path, began: float, *, wait: bool, hang: bool = False) -> Ending | None:
    """How a child ended; None if it has not and shall not be waited for."""
    done, status, usage = os.wait4(pid, 0 if wait else os.WNOHANG)
    if not done:
        return None
    output = (folder / "output.txt").read_bytes().decode("utf-8", "replace")
    seen, stacks = folder / "seen.txt", folder / "stacks.txt"
    return Ending(
        code=os.waitstatus_to_exitcode(status),
        seconds=round(time.monotonic() - began, 3),
        cpu=round(usage.ru_utime + usage.ru_stime, 3),
        peak_mb=round(usage.ru_maxrss / 1024, 1),
        output=output[-TAIL:],
        seen=seen.read_text("utf-8", "replace").splitlines() if seen.exists() else [],
        marker=any(folder.rglob(MARKER)),
        hang=hang,
        made=(folder / "command.json").exists(),
        where=deepest(stacks.read_text(), newest_first=True) if hang and stacks.exists() else "",
    )


def run(
    make: Make,
    folder: Path,
    *,
    limit: float = LIMIT,
    before: Callable[[], None] | None = None,
    modules: Path | None = None,
    signal_after: tuple[float, signal.Signals] | None = None,
) -> Ending:
    """One command, waited for; given a signal after so many seconds, if it still runs then."""
    began = time.monotonic()
    pid = start(make, folder, before, modules)
    command: float | None = None  # when it began
    while time.monotonic() - began < limit:
        if command is None and (folder / "command.json").exists():
            command = time.monotonic()
        if signal_after and command and time.monotonic() - command >= signal_after[0]:
            os.kill(pid, signal_after[1])  # not yet waited for, so the id is still the child's
            signal_after = None
        if (found := ending(pid, folder, began, wait=False)) is not None:
            return found
        time.sleep(0.002)
    kill(pid)
    found = ending(pid, folder, began, wait=True, hang=True)
    assert found is not None
    return found


def run_many(
    cases: Iterable[tuple[Path, Make]],
    workers: int,
    *,
    limit: float = LIMIT,
) -> Iterator[tuple[Path, Ending]]:
    """Many commands, so many at once; each as it ends."""
    waiting, running = iter(cases), {}
    try:
        while True:
            while len(running) < workers and (case := next(waiting, None)) is not None:
                folder, make = case
                running[start(make, folder)] = folder, time.monotonic()
            if not running:
                return
            for pid, (folder, began) in list(running.items()):
                found = ending(pid, folder, began, wait=False)
                if found is None and time.monotonic() - began > limit:
                    kill(pid)
                    found = ending(pid, folder, began, wait=True, hang=True)
                if found is not None:
                    del running[pid]
                    yield folder, found
            time.sleep(0.004)
    finally:
        for pid in running:
            kill(pid)
            os.waitpid(pid, 0)
