"""Files are whole, or as they were before."""

import pytest

from xai.core.files import replacing


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
