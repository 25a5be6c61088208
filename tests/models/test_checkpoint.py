"""Weights files: what is read, and one clear error for each way in which a file can be broken."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from xai.core import ModelError
from xai.models.checkpoint import read_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}


def same(state) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin"])
def test_pickled_tensors(tmp_path, suffix):
    torch.save(STATE, tmp_path / f"w{suffix}")
    assert same(read_checkpoint(tmp_path / f"w{suffix}"))


def test_old_format(tmp_path):
    torch.save(STATE, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 1},
        lambda s: {"model": s},
        lambda s: {"net": s},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: {"net": {f"module.{key}": value for key, value in s.items()}},
    ],
)
def test_wrappers(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / "w.pth")
    assert same(read_checkpoint(tmp_path / "w.pth"))


def test_safetensors(tmp_path):
    save_file({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "w.safetensors")
    assert same(read_checkpoint(tmp_path / "w.safetensors"))


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("as_zip", [True, False])
def test_code_is_refused_and_not_run(tmp_path, as_zip):
    marker, path = tmp_path / "ran", tmp_path / "w.pth"
    content = {"state_dict": STATE, "hook": Evil(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ModelError, match=r"was refused: it holds more than tensors.*run its code"):
        read_checkpoint(path)
    assert not marker.exists()


def test_bare_pickle_with_code_is_refused(tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "w.bin"
    path.write_bytes(pickle.dumps(Evil(marker), protocol=2))
    with pytest.raises(ModelError):
        read_checkpoint(path)
    assert not marker.exists()


def test_whole_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"refused.*Linear[\s\S]*state_dict\(\)"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 0.5, 0.95])
def test_truncated(tmp_path, suffix, kept):
    path = tmp_path / f"w{suffix}"
    state = {"w": torch.randn(100, 100)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(ModelError, match=r"w\.(pth|safetensors) is (truncated|no )[\s\S]*fetch it again"):
        read_checkpoint(path)


def test_file_of_another_kind(tmp_path):
    page = tmp_path / "w.pth"
    page.write_text("<!doctype html><title>Sign in to download</title>")
    with pytest.raises(ModelError, match="no weights file"):
        read_checkpoint(page)
    picture = tmp_path / "w.png"
    picture.touch()
    with pytest.raises(ModelError, match=r"no weights file[\s\S]*Expected \.safetensors"):
        read_checkpoint(picture)


@pytest.mark.parametrize("place", ["nowhere.pth", "."])
def test_missing(tmp_path, place):
    with pytest.raises(ModelError, match=r"no weights file[\s\S]*--weights"):
        read_checkpoint(tmp_path / place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no state dict but list"),
        ({}, "holds no state dict but dict"),
        ({"epoch": 3, "w": torch.zeros(1)}, "entries that are no tensors: epoch"),
    ],
)
def test_no_state_dict(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=message):
        read_checkpoint(tmp_path / "w.pth")
