"""Hostile and broken weights, .pth and .safetensors: types, shapes, names, wrappers, damage, code."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.robustness.mutate import NAMES, broken_bytes, misspelt, odd_value
from benchmarks.robustness.valid import METHOD, MODEL, Valid
from benchmarks.robustness.watch import MARKER

SUFFIXES = (".pth",) * 6 + (".pt", ".ckpt", ".bin", ".pth.tar", ".safetensors", "", ".PTH", ".pkl")
WRAPPERS = (
    "state_dict",
    "model",
    "net",
    "model_state_dict",
    "ema",
    "state_dict_ema",
    "module",
    "params",
    "weights",
    "teacher",
    "student",
    "x",
    "",
)


def make(rng: Random, valid: Valid, folder: Path) -> list[str]:
    """Weights for the tiny detector."""
    how = rng.random()
    if how < 0.2:
        content, suffix = odd_safetensors(rng, changed_state(rng, _state(valid))), ".safetensors"
    elif how < 0.28:
        content, suffix = payload(rng), rng.choice(SUFFIXES)
    else:
        content, suffix = odd_pickle(rng, valid), rng.choice(SUFFIXES)
    path = folder / f"w{suffix}"
    path.write_bytes(content)
    config = folder / "d.yaml"
    named = {key: value for key, value in MODEL.items() if key != "weights"}
    if rng.random() < 0.2:
        del named["model_name"]  # the family is then read from the weights alone
    config.write_text(yaml.safe_dump(named))
    model = ["--config", str(config), "--weights", str(path)]
    if rng.random() < 0.7:
        return ["doctor", *model]
    return ["explain", str(valid.photo), *model, *METHOD, "--out", "out"]


def _state(valid: Valid) -> dict[Any, Any]:
    import torch

    return torch.load(valid.weights, map_location="cpu", weights_only=True)


def odd_pickle(rng: Random, valid: Valid) -> bytes:
    """What torch.save makes of odd content; or good content, then damaged."""
    import torch

    damaged = rng.random() < 0.25
    content: Any = _state(valid) if damaged else changed_state(rng, _state(valid))
    if rng.random() < 0.5:
        content = wrapped(rng, content)
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer, _use_new_zipfile_serialization=rng.random() < 0.8)
    except Exception:  # what torch does not save is saved plainly
        return pickle.dumps(str(content)[:100])
    data = buffer.getvalue()
    if not damaged:
        return data
    return broken_bytes(rng, data) if rng.random() < 0.6 or data[:2] != b"PK" else _other_members(rng, data)


def wrapped(rng: Random, state: Any) -> Any:
    """As training programs save it, or nearly so."""
    pick = rng.randrange(7)
    if pick < 3:
        return {
            rng.choice(WRAPPERS): state,
            "epoch": odd_value(rng),
            "optimizer": {"state": {}, "param_groups": [odd_value(rng)]},
        }
    if pick == 3:
        return {rng.choice(WRAPPERS): {rng.choice(WRAPPERS): {rng.choice(WRAPPERS): state}}}
    if pick == 4:
        first, second = rng.sample(WRAPPERS, 2)
        return {first: state, second: changed_state(rng, dict(state)) if isinstance(state, dict) else state}
    if pick == 5:
        return rng.choice(
            ([state], (state, 1), list(getattr(state, "values", list)()), {1: state}, odd_value(rng))
        )
    inner: Any = state
    for _ in range(rng.choice((5, 300))):
        inner = {"state_dict": inner}
    return inner


def changed_state(rng: Random, state: dict[Any, Any]) -> dict[Any, Any]:
    """Tensors and names changed."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        keys = list(state)
        if not keys:
            break
        every = rng.random() < 0.2
        if rng.random() < 0.6:
            change = rng.randrange(len(TENSORS))
            for key in keys if every else [rng.choice(keys)]:
                if getattr(state[key], "numel", int)() > 1 << 22:
                    continue  # one number repeated: any other change would write all of it
                try:
                    state[key] = TENSORS[change](rng, state[key])
                except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
                    state[key] = odd_value(rng)  # a change that this tensor does not take
        else:
            state = _renamed(rng, state, every)
    return state


def _renamed(rng: Random, state: dict[Any, Any], every: bool) -> dict[Any, Any]:
    how = rng.randrange(8)
    prefix = rng.choice(
        ("module.", "_orig_mod.", "model.", "module._orig_mod.", "x.", "", ".", "base_model.model.")
    )
    one = rng.choice(list(state))
    if how < 2 or every:
        return {f"{prefix}{key}": value for key, value in state.items()}
    if how == 2:
        numbers = ("7", "99999999", "-1", "1e3", "٣", str(10**15), "01")
        return {
            (str(key).replace(".1.", f".{rng.choice(numbers)}.") if key == one or how else key): value
            for key, value in state.items()
        }
    if how == 3:
        name: Any = rng.choice((misspelt(rng, str(one)), rng.choice(NAMES), 7, None, (1, 2), b"x", 1.5, True))
        return {(name if key == one else key): value for key, value in state.items()}
    if how == 4:
        return {key: value for key, value in state.items() if key != one}
    if how == 5:
        return state | {rng.choice(NAMES): state[one]}
    if how == 6:
        return state | {rng.choice(("epoch", "n", "head.extra", "backbone.x.weight")): odd_value(rng)}
    part = str(one).partition(".")[0]
    return {key: value for key, value in state.items() if not str(key).startswith(part)}


def _dtype(rng: Random, tensor: Any) -> Any:
    import torch

    names = (
        "float16",
        "bfloat16",
        "float64",
        "int64",
        "int8",
        "uint8",
        "bool",
        "complex64",
        "float8_e4m3fn",
        "int32",
        "uint16",
    )
    return tensor.to(getattr(torch, rng.choice(names)))


def _shape(rng: Random, tensor: Any) -> Any:
    return rng.choice(
        (
            lambda t: t.T,
            lambda t: t.flatten(),
            lambda t: t[None],
            lambda t: t[..., None],
            lambda t: t[:0],
            lambda t: t.sum(),
            lambda t: t[: len(t) // 2],
            lambda t: t.repeat(2, *[1] * (t.ndim - 1)),
            lambda t: t.flatten()[:1].expand(1 << 20),
            lambda t: t.flatten()[:1].expand(1 << 33),
            lambda t: t[::2],
            lambda t: t.unsqueeze(0).transpose(0, -1),
        )
    )(tensor)


def _kind(rng: Random, tensor: Any) -> Any:
    import torch

    return rng.choice(
        (
            lambda t: t.to_sparse(),
            lambda t: t.to_sparse_csr(),
            lambda t: t.to("meta"),
            torch.nn.Parameter,
            lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
            lambda t: t.numpy(),
            lambda t: t.tolist(),
            lambda t: float(t.sum()),
            lambda t: torch.nested.nested_tensor([t, t]),
            lambda t: t.untyped_storage(),
            lambda t: torch.empty(0, device="meta"),
            lambda t: t.conj(),
            lambda t: torch.view_as_complex(t.view(-1, 2)),
        )
    )(tensor)


def _values(rng: Random, tensor: Any) -> Any:
    return tensor * rng.choice((float("nan"), float("inf"), 0.0, 1e38, -1.0, 1e-40))


TENSORS = (_dtype, _shape, _kind, _values, _dtype, _shape, _kind)


def odd_safetensors(rng: Random, state: dict[Any, Any]) -> bytes:
    """A safetensors file of what can be saved; its header then changed, or its bytes damaged."""
    import torch
    from safetensors.torch import save

    kept = {
        str(key).encode("utf-8", "replace").decode(): value.clone().contiguous()
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.numel() < 1 << 22
        and not value.is_meta
        and not value.is_quantized
    }
    try:
        data = save(kept)
    except Exception:  # a type that the format does not know
        data = save({"x": torch.zeros(2)})
    how = rng.random()
    if how < 0.3:
        return data
    if how < 0.6:
        return broken_bytes(rng, data)
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    names = list(header) or [""]
    one = rng.choice(names)
    said = header.get(one) or {}
    edits = [
        lambda: said.update(dtype=rng.choice(("F64", "I4", "BOOL", "X", None, 7, "F8_E4M3"))),
        lambda: said.update(shape=rng.choice(([], [-1], [2**62, 4], [0], "x", [1.5], [2**64]))),
        lambda: said.update(
            data_offsets=rng.choice(([0, 4], [4, 0], [0, 2**63], [-1, 4], [], None, [0, len(body) + 1]))
        ),
        lambda: header.update({rng.choice(NAMES[:6]): said}),
        lambda: header.pop(one, None),
        lambda: header.update(
            __metadata__=rng.choice(({"format": "tf"}, {"format": 1}, [], "x", {"a": {"b": 1}}))
        ),
    ]
    rng.choice(edits)()
    text = json.dumps(header).encode()
    size = len(text) if rng.random() < 0.85 else rng.choice((0, 2**40, 2**63, len(text) + 9, len(text) - 3))
    return struct.pack("<Q", size) + text + body


def _other_members(rng: Random, data: bytes) -> bytes:
    """The zip archive of a .pth with members missing, renamed, swollen or packed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        members = old.namelist()
        one, how = rng.choice(members), rng.randrange(6)
        for name in members:
            content = old.read(name)
            if name == one and how == 0:
                continue
            said = name
            if name == one:
                said = {1: f"../{name}", 2: "x", 3: name.rpartition("/")[2]}.get(how, name)
                content = (
                    b"\x00" * 50_000_000 if how == 4 else broken_bytes(rng, content) if how == 5 else content
                )
            pack = zipfile.ZIP_DEFLATED if how == 4 or rng.random() < 0.1 else zipfile.ZIP_STORED
            new.writestr(said, content, pack)
    return buffer.getvalue()


class _Touch:
    """Pickled as a call that makes the marker."""

    def __init__(self, call: str):
        self.call = call

    def __reduce__(self):
        import os
        import subprocess

        if self.call == "system":
            return os.system, (f"touch {MARKER}",)
        if self.call == "eval":
            return eval, (f"open('{MARKER}', 'w').close()",)
        if self.call == "open":
            return open, (MARKER, "w")
        return subprocess.call, (["touch", MARKER],)


def payload(rng: Random) -> bytes:
    """A pickle that runs a harmless command where it is read without care."""
    import torch

    trap: Any = _Touch(rng.choice(("system", "eval", "open", "call")))
    content = rng.choice((trap, {"state_dict": {"a": torch.zeros(2), "b": trap}}, [trap], {trap.call: trap}))
    pick = rng.randrange(4)
    if pick == 0:
        return pickle.dumps(content, protocol=rng.choice((0, 2, 4)))
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=pick < 3)
    data = buffer.getvalue()
    return broken_bytes(rng, data) if rng.random() < 0.2 else data
