"""Files given as weights: read by their content, or named for what they are; tensors that are no weights."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import tiny_models as tiny
import torch
from checkpoints import write
from safetensors.torch import save_file
from torch import nn

import xai
from xai.core import ConfigError, ModelError
from xai.models.checkpoint import read_checkpoint

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}


def same(state) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize(
    "name", ["checkpoint", "epoch=3.ckpt.bak", "W.SAFETENSORS", "w.pkl", "w.safetensors"]
)
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_content_says_how_a_file_is_read(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=kind == "zip")
    assert same(read_checkpoint(path))


def index(folder, name, weight_map):
    (folder / name).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder / name


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_sharded(tmp_path, kind):
    shards = {key: f"model-{n}.{kind}" for n, key in enumerate(STATE)}
    for key, shard in shards.items():
        put = save_file if kind == "safetensors" else torch.save
        put({key: STATE[key]}, tmp_path / shard)
    assert same(read_checkpoint(index(tmp_path, f"model.{kind}.index.json", shards)))
    (tmp_path / shards["b"]).unlink()
    with pytest.raises(ModelError, match=f"names the shard model-1.{kind}"):
        read_checkpoint(tmp_path / f"model.{kind}.index.json")


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "", 3])
def test_a_shard_must_lie_beside_its_index(tmp_path, shard):
    save_file(STATE, tmp_path / "other.safetensors")
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match="does not lie beside|is no weights file but JSON"):
        read_checkpoint(index(tmp_path / "model", "model.safetensors.index.json", {"a": shard}))


def test_shards_that_lack_what_the_index_names(tmp_path):
    save_file(STATE, tmp_path / "one.safetensors")
    weight_map = {"a.weight": "one.safetensors", "c": "one.safetensors"}
    with pytest.raises(ModelError, match="lack c"):
        read_checkpoint(index(tmp_path, "model.safetensors.index.json", weight_map))


def torchscript() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    return buffer.getvalue()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def tarred(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (torchscript, "TorchScript archive"),
        (lambda: zipped("x/models/model.json", "x/archive_format"), r"torch\.export program"),
        (lambda: zipped("a.npy", "b.npy"), "NumPy archive"),
        (lambda: zipped("config.json", "model.weights.h5"), "Keras model"),
        (lambda: zipped("word/document.xml"), "zip archive that torch.save did not write"),
        (lambda: npy(np.zeros(3)), "NumPy array"),
        (lambda: b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "HDF5"),
        (lambda: b"\x08\x07\x12\x07pytorch" + b"\0" * 99, "ONNX model or a TensorFlow graph"),
        (lambda: b"\x1c\0\0\0TFL3" + b"\0" * 99, "TensorFlow Lite"),
        (lambda: b"GGUF\3\0\0\0", "GGUF"),
        (lambda: gzip.compress(b"weights"), r"compressed \(gzip\)[\s\S]*Unpack it"),
        (lambda: tarred("storages", "tensors", "pickle"), "torch file of before 2017"),
        (lambda: tarred("model.pth"), "a tar archive[\\s\\S]*Unpack it"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (lambda: b" <!DOCTYPE html><title>Sign in</title>", "web page"),
        (lambda: b'{"lr": 0.1}', "JSON"),
        (lambda: b"[" * 100_000, "JSON"),
        (lambda: b"\x89PNG\r\n\x1a\n", "PNG picture"),
    ],
)
def test_other_files_are_named(tmp_path, content, what):
    path = tmp_path / "w.pth"
    path.write_bytes(content())
    with pytest.raises(ModelError, match=f"is no weights file but .*{what}"):
        read_checkpoint(path)


def test_a_folder_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"is a folder[\s\S]*local:DIR"):
        read_checkpoint(tmp_path)


def test_an_archive_made_to_fill_the_memory(tmp_path):
    torch.save({"w": torch.zeros(1_000_000)}, tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as old,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ModelError, match="declares 40.* bytes"):
        read_checkpoint(tmp_path / "bomb.pth")


def detector_state(**changes):
    return tiny.BenchDetector(tiny.clip_tower()).state_dict() | changes


POSITIONS = "backbone.embeddings.position_embedding.weight"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(17, 64).to_sparse(), "sparse"),
        (torch.eye(64).to_sparse_csr(), "sparse"),
        (torch.zeros(17, 64, device="meta"), "without data"),
        (torch.quantize_per_tensor(torch.zeros(17, 64), 0.1, 0, torch.qint8), "quantised tensors"),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "nested"),
        (torch.zeros(17, 64).to(torch.float8_e4m3fn), "8-bit floating-point"),
        (torch.zeros(17, 64, dtype=torch.complex64), r"no floating-point numbers \(complex64\)"),
        (torch.zeros(17, 64, dtype=torch.bool), r"no floating-point numbers \(bool\)"),
        (torch.zeros(17, 64, dtype=torch.int8), r"no floating-point numbers \(int8\)[\s\S]*quantised"),
        (torch.tensor(1.0), r"position_embedding\.weight has the shape \(\)"),
        (torch.zeros(0, 64), "square grid"),
        (torch.zeros(17, 0), "position_embedding.weight"),
        (torch.zeros(1).expand(10**9, 64), "declares more numbers than it holds: .*position_embedding"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path, tensor, message):
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, detector_state(**{POSITIONS: tensor})))


def test_a_small_expanded_view_is_read(tmp_path):
    torch.save({"a.weight": torch.ones(1).expand(3, 4)}, tmp_path / "w.pth")
    assert torch.equal(read_checkpoint(tmp_path / "w.pth")["a.weight"], torch.ones(3, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers.1.": "layers.7."}, "2 layers are numbered 0, 7"),
        ({"layers.1.": f"layers.{10**30}."}, "2 layers are numbered 0, 1000"),
        ({"layers.1.": f"layers.{'9' * 5000}."}, "2 layers are numbered 0, 9999"),
        ({"layers.1.": "layers.-1."}, "unexpected"),
        ({"layers.0.": "layers.00."}, "numbered 1, 00"),
        ({"layers.": "stages."}, "0 layers are numbered not at all"),
    ],
)
def test_layer_numbers(tmp_path, changes, message):
    (old, new), *_ = changes.items()
    state = {key.replace(old, new): value for key, value in detector_state().items()}
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, state))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone.embeddings.patch_embedding.weight": torch.zeros(64, 3, 100_000, 1)}, "square patches"),
        ({"backbone.embeddings.patch_embedding.weight": torch.zeros(64, 1, 8, 8)}, "three colour channels"),
        ({"backbone.encoder.layers.0.mlp.fc1.weight": torch.zeros(10**7, 1)}, "not fit a CLIPVisionModel"),
        ({"head.weight": torch.zeros(0, 64), "head.bias": torch.zeros(0)}, "no Linear layer"),
        ({"head.bias": torch.zeros(3)}, r"bias \(3,\)"),
        ({"head.bias": torch.tensor(0.0)}, r"bias \(\)"),
        ({"head.weight": torch.tensor(0.0)}, "more than Linear"),
    ],
)
def test_absurd_shapes(tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        xai.load(write(tmp_path, detector_state(**changes)))


@pytest.mark.parametrize("key", [1, b"w", ("a", "b"), None, 2.5])
def test_keys_that_are_no_strings(tmp_path, key):
    torch.save({**STATE, key: torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"keys that are no strings"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "key", ["q_proj.qweight", "q_proj.SCB", "q_proj.weight.absmax", "q.weight.quant_state.bitsandbytes__nf4"]
)
def test_quantised_checkpoints_are_named(tmp_path, key):
    torch.save({**STATE, key: torch.zeros(4, dtype=torch.uint8)}, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="quantised weights: q"):
        read_checkpoint(tmp_path / "w.pth")


def test_an_adapter_alone(tmp_path):
    state = {f"base_model.model.q_proj.lora_{x}.weight": torch.zeros(2, 2) for x in "AB"}
    with pytest.raises(ModelError, match=r"adapters.*nothing else[\s\S]*merge_and_unload"):
        xai.load(write(tmp_path, state))


def test_an_unknown_activation(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'quick_gelu'"):
        xai.load(write(tmp_path, detector_state(), "hidden_act: quik_gelu"))
