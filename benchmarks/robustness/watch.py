"""What a command that only reads data must not do: an audit hook that notes it."""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

MARKER = "CODE-RAN"
"""File that every payload makes, in the folder of its case."""

PROCESSES = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "os.startfile",
    "socket.connect",
    "socket.sendto",
    "ctypes.cdata/buffer",
)
CHANGES = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.mkdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
    "os.rmdir": (0,),
}
LOADERS = (
    "/yaml/",
    "/pickle.py",
    "_weights_only_unpickler.py",
    "/xai/",
    "/PIL/",
    "/numpy/lib/",
    "/tarfile.py",
)
"""Files whose code reads data: none of them has a reason to run a string."""
HARMLESS_PROCESSES = (("subprocess.Popen", ["uname", "-p"]),)  # platform.processor(), for provenance
HARMLESS_GLOBALS = ("collections.OrderedDict", "copyreg._reconstructor")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watching(folder: Path) -> None:
    """From now on note in `folder/seen.txt` what this process does and must not; cannot be undone."""
    inside = os.path.realpath(folder)
    tempfile.tempdir = None  # read TMPDIR anew
    allowed = [
        inside,
        *(os.environ[key] for key in ("HF_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME") if key in os.environ),
    ]
    descriptor = os.open(folder / "seen.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    packages = tuple(
        {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    )
    busy = False

    def note(text: str) -> None:
        os.write(descriptor, (text.replace("\n", " ")[:300] + "\n").encode("utf-8", "replace"))

    def is_foreign(path: object) -> bool:
        """Whether code of this file came with the input."""
        if not isinstance(path, str) or path.startswith("<"):
            return False
        place = os.path.realpath(path)
        return place.startswith(inside) and not place.startswith(packages)

    def outside(path: object) -> bool:
        """Whether a path that is written lies outside the case's folder."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        place = os.path.realpath(os.fsdecode(path))
        return not place.startswith((*allowed, "/dev/", "/proc/self/"))

    def look(event: str, arguments: tuple) -> None:
        if event in PROCESSES:
            if (event, *arguments[1:2]) not in HARMLESS_PROCESSES:
                note(f"{event} {arguments[:2]!r}")
        elif event == "pickle.find_class":
            name = f"{arguments[-2]}.{arguments[-1]}"
            if name not in HARMLESS_GLOBALS:
                note(f"{event} {name}")
        elif event == "import":
            if is_foreign(arguments[1]):
                note(f"{event} {arguments[0]} {arguments[1]}")
        elif event in ("exec", "compile"):
            named = getattr(arguments[0], "co_filename", None) if event == "exec" else arguments[1]
            caller = sys._getframe(2).f_code.co_filename  # the one that asked for it
            if is_foreign(named) or (
                (not isinstance(named, str) or named.startswith("<"))
                and any(part in caller for part in LOADERS)
            ):
                note(f"{event} of {named} by {caller}")
        elif event == "open":
            path, mode, flags = arguments
            writes = bool(set(mode or "") & set("wax+")) or bool((flags or 0) & WRITES)
            if writes and outside(path):
                note(f"{event} for writing, outside its folder: {path!r}")
        elif event in CHANGES:
            for place in CHANGES[event]:
                if outside(arguments[place]):
                    note(f"{event}, outside its folder: {arguments[place]!r}")

    def hook(event: str, arguments: tuple) -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        try:
            look(event, arguments)
        except (
            OSError,
            ValueError,
            TypeError,
        ):  # a path that no file system takes: nothing is written there either
            pass
        finally:
            busy = False

    sys.addaudithook(hook)
