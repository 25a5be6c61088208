"""Hostile and broken Hugging Face folders: configuration, processor, weights, code that must not run."""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.robustness.checkpoints import changed_state, odd_pickle, odd_safetensors, payload
from benchmarks.robustness.mutate import DEEP, broken_bytes, changed_tree, odd_value
from benchmarks.robustness.valid import METHOD, Valid
from benchmarks.robustness.watch import MARKER

TYPES = (
    "clip",
    "siglip",
    "vit",
    "dinov2",
    "swin",
    "beit",
    "resnet",
    "bert",
    "GenD",
    "timm_wrapper",
    "convnext",
    "deit",
    "x",
)
PROCESSORS = (
    "ViTImageProcessor",
    "CLIPImageProcessor",
    "ConvNextImageProcessor",
    "BitImageProcessor",
    "DeiTImageProcessor",
    "LevitImageProcessor",
    "ImageGPTImageProcessor",
    "EfficientNetImageProcessor",
    "X",
    None,
)


def make(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """A folder with one to two things wrong."""
    model = folder / "model"
    shutil.copytree(valid.hf, model)
    for _ in range(rng.choice((1, 1, 2))):
        rng.choice(CHANGES)(rng, valid, model)
    if rng.random() < 0.75:
        return ["doctor", f"local:{model}"]
    return ["explain", str(valid.photo), "--model", f"local:{model}", *METHOD, "--out", "out"]


def _config(rng: Random, valid: Valid, model: Path) -> None:
    path = model / "config.json"
    content = _read(path)
    if rng.random() < 0.4:
        content |= rng.choice(
            (
                {"problem_type": rng.choice(("multi_label_classification", "regression", "x", 7))},
                {"num_labels": rng.choice((0, 1, 3))},
                {
                    "id2label": rng.choice(
                        (
                            {"0": "a"},
                            {"a": "b"},
                            {"0": "a", "5": "b"},
                            {"0": "a", "1": "a"},
                            {},
                            [],
                            {"0": None, "1": 2},
                        )
                    )
                },
                {"model_type": rng.choice(TYPES)},
                {"architectures": rng.choice(([], None, ["X"], ["ViTModel"], "ViT", [None], [7]))},
                {"torch_dtype": rng.choice(("float16", "x", 7))},
                {"dtype": rng.choice(("bfloat16", "int8", "x"))},
                {"hidden_act": rng.choice(("relu", "x", None))},
                {"patch_size": rng.choice((0, 3, 64, [8, 8], 2**31))},
                {"image_size": rng.choice((0, 31, [32, 64], 10**9))},
                {"num_attention_heads": rng.choice((0, 3, -1, 16))},
                {"num_hidden_layers": rng.choice((0, 1, 3, -1, 10**6))},
                {"hidden_size": rng.choice((0, 15, 10**6, -16))},
                {"quantization_config": {"quant_method": rng.choice(("bitsandbytes", "gptq", "x"))}},
                {"num_channels": rng.choice((1, 4, 0))},
                {"attn_implementation": "x"},
                {"_attn_implementation": rng.choice(("eager", "flash_attention_2", "x"))},
            )
        )
    else:
        content = changed_tree(rng, content)
    _write(path, content)


def _processor(rng: Random, valid: Valid, model: Path) -> None:
    path = model / "preprocessor_config.json"
    content = _read(path)
    if rng.random() < 0.5:
        content |= rng.choice(
            (
                {"image_processor_type": rng.choice(PROCESSORS)},
                {
                    "size": rng.choice(
                        (
                            16,
                            {"shortest_edge": 64},
                            {"height": 0, "width": 0},
                            {"height": 64, "width": 64},
                            {"longest_edge": 9},
                            {},
                            "x",
                            None,
                            -5,
                            {"height": 10**6, "width": 10**6},
                        )
                    )
                },
                {"do_resize": False},
                {"resample": rng.choice((0, 1, 5, 99, "x", None))},
                {"do_center_crop": True, "crop_size": rng.choice((8, 32, 99, None))},
                {"image_mean": rng.choice((0.5, [0.5], [0.5] * 4, "x", None, [None] * 3))},
                {"image_std": rng.choice((0, [0, 0, 0], [1e-40] * 3, [float("nan")] * 3))},
                {"rescale_factor": rng.choice((0, -1, 1e308, "x", None, float("nan")))},
                {"do_rescale": False},
                {"do_normalize": "no"},
                {"do_flip_channel_order": True},
                {"crop_pct": 0.5},
                {"do_convert_rgb": False},
                {"do_pad": True},
            )
        )
    else:
        content = changed_tree(rng, content)
    _write(path, content)


def _weights(rng: Random, valid: Valid, model: Path) -> None:
    from safetensors.torch import load_file

    path = model / "model.safetensors"
    if not path.exists():
        return
    pick = rng.random()
    if pick < 0.6:
        try:
            state: dict[Any, Any] = load_file(path)
        except Exception:  # damaged by the change before this one
            return
        path.write_bytes(odd_safetensors(rng, changed_state(rng, state)))
    elif pick < 0.8:
        path.unlink()
        (model / "pytorch_model.bin").write_bytes(
            payload(rng) if rng.random() < 0.5 else odd_pickle(rng, valid)
        )
    else:
        index = {
            "metadata": {"total_size": 1},
            "weight_map": {"vit.embeddings.cls_token": rng.choice((path.name, "../x", "no"))},
        }
        _write(model / "model.safetensors.index.json", changed_tree(rng, index))
        if rng.random() < 0.5:
            path.rename(model / "model-00001-of-00001.safetensors")


def _code(rng: Random, valid: Valid, model: Path) -> None:
    """Modules that make the marker when they are imported; nobody passed --trust-remote-code."""
    source = (
        f"import pathlib\npathlib.Path({MARKER!r}).touch()\n"
        f"pathlib.Path(__file__).with_name({MARKER!r}).touch()\nclass Thing:\n    pass\n"
    )
    names = (
        "modeling_x",
        "configuration_x",
        "image_processing_x",
        "setup",
        "__init__",
        "conftest",
        "sitecustomize",
        "torch",
    )
    for name in rng.sample(names, 4):
        (model / f"{name}.py").write_text(source)
    for name in names[:3]:
        (model / f"{name}.py").write_text(source)
    config, steps = _read(model / "config.json"), _read(model / "preprocessor_config.json")
    config["auto_map"] = {
        "AutoConfig": "configuration_x.Thing",
        "AutoModelForImageClassification": "modeling_x.Thing",
    }
    steps["auto_map"] = {
        "AutoImageProcessor": "image_processing_x.Thing",
        "AutoProcessor": "image_processing_x.Thing",
    }
    if rng.random() < 0.5:
        config |= {"model_type": "unheard_of", "architectures": ["ThingForImageClassification"]}
    if rng.random() < 0.5:
        steps["image_processor_type"] = "Thing"
    if rng.random() < 0.3:
        config["auto_map"] = changed_tree(rng, config["auto_map"])
    _write(model / "config.json", config)
    _write(model / "preprocessor_config.json", steps)


def _files(rng: Random, valid: Valid, model: Path) -> None:
    """A file damaged, gone, empty, deep, or no file."""
    path = rng.choice(sorted(one for one in model.iterdir() if one.is_file()))
    pick = rng.randrange(8)
    if pick < 3:
        path.write_bytes(broken_bytes(rng, path.read_bytes()))
    elif pick == 3:
        path.unlink()
    elif pick == 4:
        path.write_bytes(
            rng.choice(
                (
                    b"",
                    b"{}",
                    b"[]",
                    b"null",
                    b"7",
                    b"\xff\xfe",
                    b"version https://git-lfs.github.com/spec/v1\n",
                )
            )
        )
    elif pick == 5:
        path.write_text(rng.choice("[{").replace("{", '{"a":') * rng.choice(DEEP))
    elif pick == 6:
        path.unlink()
        rng.choice(
            (lambda: path.mkdir(), lambda: path.symlink_to(path.name), lambda: path.symlink_to("no"))
        )()
    else:
        extra = rng.choice(
            (
                "processor_config.json",
                "adapter_config.json",
                "generation_config.json",
                "tokenizer_config.json",
            )
        )
        _write(model / extra, odd_value(rng))


CHANGES = (
    _config,
    _config,
    _config,
    _processor,
    _processor,
    _processor,
    _weights,
    _weights,
    _code,
    _files,
    _files,
)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):  # damaged by the change before this one
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, content: Any) -> None:
    if path.is_dir() or path.is_symlink():
        return
    try:
        path.write_text(json.dumps(content, indent=1, default=str), "utf-8", "surrogatepass")
    except (RecursionError, ValueError):
        path.write_text("[" * 5000)
