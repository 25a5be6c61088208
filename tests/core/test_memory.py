"""What the C library does with memory that is freed."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's way")

PROBE = """
import os, sys
{first}
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = resident()
block = bytearray(b"x") * 2**26
del block
sys.stderr.write("\\n" + str(resident() - before > 2**25))
"""
LIBRARY = "import xai.core\nkept = {kept}"
COMMAND = """
from xai.cli.main import main
sys.argv = ["xai", "methods"]
try:
    main()
except SystemExit:
    pass
"""


def stays(first: str, **environment: str) -> str:
    """Whether 64 MB that were freed are still with the process."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    code = PROBE.format(first=first)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=plain | environment
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1]  # the command may have said something before


def test_the_library_leaves_it_as_it_is() -> None:
    assert stays(LIBRARY.format(kept=None)) == "False"


def test_it_is_kept_when_asked() -> None:
    assert stays(LIBRARY.format(kept="xai.core.keep_freed_memory(); assert kept")) == "True"


def test_the_command_keeps_it() -> None:
    assert stays(COMMAND) == "True"


def test_the_environment_has_the_last_word() -> None:
    asked = LIBRARY.format(kept="xai.core.keep_freed_memory(); assert not kept")
    assert stays(asked, MALLOC_TRIM_THRESHOLD_="131072") == "False"
