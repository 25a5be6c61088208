"""Files are whole, or as they were before."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xai.core import OutputError, UsageError, files
from xai.core.files import TEMPORARY, expanded, is_locked, only_writer, replacing, write_bytes


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "map.bin"
    with replacing(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    with replacing(path) as file:
        file.write(b"other")
        file.flush()
        assert path.read_bytes() == b"half and half"
    assert path.read_bytes() == b"other"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "map.bin"
    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        with pytest.raises(KeyboardInterrupt), replacing(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt
        assert [one.read_bytes() for one in tmp_path.iterdir()] == ([] if before is None else [before])


def left_by_a_killed_process(path):
    """What `replacing` leaves where it is killed: written, not yet renamed."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom xai.core.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n    file.flush()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -signal.SIGKILL


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path):
    left_by_a_killed_process(tmp_path / "map.bin")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(TEMPORARY)
    foreign = [
        ".xai-writing-mine",
        ".xai-writing-0123456789abcdef.txt",
        ".0123456789abcdef",
        "x.xai-writing-0",
    ]
    for name in foreign:
        (tmp_path / name).write_bytes(b"")
    with replacing(tmp_path / "in work") as file:
        files.clear_leftovers(tmp_path)  # as another process would
        file.write(b"whole")
    assert (tmp_path / "in work").read_bytes() == b"whole"
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*foreign, "in work"])


def test_the_first_file_written_to_a_folder_clears_it(tmp_path):
    left_by_a_killed_process(tmp_path / "deep" / "a")
    write_bytes(tmp_path / "deep" / "b", b"whole")
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["b"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_is_one_error_and_leaves_what_was_there(tmp_path, monkeypatch, number):
    path = tmp_path / "map.bin"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"Cannot write to .*map\.bin") as caught:
        write_bytes(path, b"new", durable=True)
    assert ("disk is full" in str(caught.value)) == (number != errno.EIO)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"]


def test_folders_are_made_and_what_cannot_be_is_one_error(tmp_path):
    write_bytes(tmp_path / "no" / "such" / "x", b"x")
    assert (tmp_path / "no" / "such" / "x").read_bytes() == b"x"
    (tmp_path / "dir").mkdir()
    for path in (tmp_path / "no" / "such" / "x" / "y", tmp_path / "dir", tmp_path / ("n" * 300)):
        with pytest.raises(OutputError, match="Cannot write to"):
            write_bytes(path, b"x")
    assert not list((tmp_path / "dir").iterdir())


def test_one_writer_at_a_time(tmp_path):
    with only_writer(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(UsageError, match=f"process {os.getpid()}"), only_writer(tmp_path):
            pass
    assert not is_locked(tmp_path)


def test_a_home_that_nobody_has_is_a_plain_name():
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
