"""MTCNN's published weights as one safetensors file."""

from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import torch
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from xai.core import ModelError

FACES = "faces"
"""What the entry is called: `xai models fetch faces`."""
WEIGHTS = "mtcnn.safetensors"
DIGEST = "830cf80bc9dda447f82223447f2a7d36ece24e77b17aaa9372cdaeee7ef90e58"
"""See `digest`."""
_NETS = ("pnet", "rnet", "onet")
_HEADS = {"1": "face", "2": "box", "3": "points"}


def face_files(parts: Sequence[bytes]) -> dict[str, bytes]:
    """The folder's files out of the three files that `torch.save` wrote.

    torch reads them as data (`weights_only`): nothing in them is run.

    Args:
        parts: Of the P-, R- and O-net.
    """
    state: dict[str, Tensor] = {}
    for net, part in zip(_NETS, parts, strict=True):
        weights = torch.load(BytesIO(part), map_location="cpu", weights_only=True)
        state |= {f"{net}.{name}": value.contiguous() for name, value in _renamed(weights).items()}
    return {
        WEIGHTS: safetensors_bytes(state),
        "README.md": (Path(__file__).parent / "cards" / f"{FACES}.md").read_bytes(),
    }


def read_face_weights(folder: Path) -> dict[str, Tensor]:
    """Weights by name, as `xai.faces.mtcnn.MTCNN` has them.

    Raises:
        ModelError: They are not there, or not those that were examined.
    """
    fetch = f"xai models fetch {FACES}"
    try:
        content = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError:
        raise ModelError(
            f"Faces are found by MTCNN, whose weights (2 MB) are not in {folder}.",
            f"{fetch} gets them. Or say where the face is: --box; or look at all of it: --whole-image.",
        ) from None
    except OSError as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be read: {error.strerror or error}.") from None
    try:
        state = from_safetensors(content)
    except Exception:  # the library meets a broken header with errors of many kinds
        state = {}
    if digest(state) != DIGEST:
        raise ModelError(
            f"{folder / WEIGHTS} does not hold the weights that were examined.",
            f"Delete {folder}, then: {fetch}",
        )
    return state


def check_face_folder(folder: Path) -> None:
    """Refuse a conversion whose result is another than the one that was examined.

    Raises:
        ModelError: It is.
    """
    read_face_weights(folder)


def digest(state: dict[str, Tensor]) -> str:
    """sha256 (hex) over names, shapes and float32 values, in the order of the names."""
    found = sha256()
    for name, value in sorted(state.items()):
        found.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        found.update(value.numpy().tobytes())
    return found.hexdigest()


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as in `xai.faces.mtcnn.CascadeNet`: what is called `…_1`, `…_2`, `…_3` is a head."""
    named: dict[str, Tensor] = {}
    for name, value in weights.items():
        module, kind = name.rsplit(".", 1)
        _, is_head, number = module.rpartition("_")
        named[f"{f'heads.{_HEADS[number]}' if is_head else f'trunk.{module}'}.{kind}"] = value
    return named
