"""What a file that was given as weights is, told by its first bytes and never by its name."""

import struct
import tarfile
import zipfile
from pathlib import Path

# beginnings of files that hold no torch weights: bytes, where they stand, what such a file is, the way on
_CONVERT = "Convert it to torch with the library that wrote it, then torch.save(model.state_dict(), path)."
_UNPACK = "Unpack it first and give the file inside."
_AGAIN = "The download may be incomplete: fetch it again and compare its size."
_FOREIGN = (
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (Keras or TensorFlow weights, a data set)", _CONVERT),
    (b"\x93NUMPY", 0, "a NumPy array", _CONVERT),
    (b"TFL3", 4, "a TensorFlow Lite model", _CONVERT),
    (b"GGUF", 0, "a GGUF file (quantised weights of llama.cpp)", "Give the weights that it was made from."),
    (b"PTMF", 4, "a model for PyTorch Mobile", "Give the state dict that it was made from."),
    (b"\x1f\x8b", 0, "compressed (gzip)", _UNPACK),
    (b"BZh", 0, "compressed (bzip2)", _UNPACK),
    (b"\xfd7zXZ\x00", 0, "compressed (xz)", _UNPACK),
    (b"\x28\xb5\x2f\xfd", 0, "compressed (zstd)", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", _UNPACK),
    (b"Rar!", 0, "a RAR archive", _UNPACK),
    (b"PAR1", 0, "a Parquet table", "Give the checkpoint."),
    (b"\x89PNG", 0, "a PNG picture", "Give the checkpoint."),
    (b"\xff\xd8\xff", 0, "a JPEG picture", "Give the checkpoint."),
    (
        b"version https://git-lfs",
        0,
        "a Git LFS pointer: the weights themselves were not downloaded",
        "Run git lfs pull in its repository.",
    ),
)
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")
_HEAD = 512
_LONGEST_HEADER = 100_000_000  # bytes of a safetensors header, as its own library allows


def kind_of(path: Path) -> str:
    """One of "safetensors", "zip", "pickle", "tar", "json", "empty", "unknown"; see also `foreign`.

    Args:
        path: A readable file.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "empty"
    if head.startswith(b"PK"):
        return "zip"
    if _is_safetensors(head, path.stat().st_size):
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    if head[257:262] == b"ustar":
        return "tar"
    return "json" if head.lstrip()[:1] in (b"{", b"[") else "unknown"


def foreign(path: Path) -> tuple[str, str]:
    """What a file of kind "unknown" is instead of weights ("" where that cannot be seen), and the way on."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for beginning, at, what, way in _FOREIGN:
        if head[at : at + len(beginning)] == beginning:
            return what, way
    if head.lstrip().lower().startswith(_WEB_PAGE):
        return "a web page, as sites send that ask to sign in", _AGAIN
    # protobuf has no magic number: field 1 (a small version number), then field 2 (a name or a graph)
    if path.suffix.lower() == ".onnx" or (
        head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] == b"\x12"
    ):
        return "an ONNX model or a TensorFlow graph", _CONVERT
    return "", _AGAIN


def zip_kind(path: Path) -> str:
    """What a zip archive holds: "torch", or in words what it is instead; "" when it is truncated."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return ""
    names = [entry.filename for entry in entries]
    inside = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inside or any(name.startswith("code/") for name in inside):
        return "a TorchScript archive (torch.jit.save): a program with its weights"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return "a torch.export program"
    if "data.pkl" in inside:
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)"
    if "model.weights.h5" in names:
        return "a Keras model"
    return "a zip archive that torch.save did not write"


def unpacked_size(path: Path) -> int:
    """Bytes that a zip archive declares to hold."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def tar_kind(path: Path) -> str:
    """What a tar archive is, in words."""
    try:
        with tarfile.open(path, "r:") as archive:
            names = {archive.next().name for _ in range(3)}  # pyright: ignore[reportOptionalMemberAccess]
    except (tarfile.TarError, OSError, ValueError, AttributeError):
        names = set()
    old = names & {"storages", "tensors", "pickle", "sys_info"}
    return "a torch file of before 2017 (tar)" if old else "a tar archive"


def _is_safetensors(head: bytes, size: int) -> bool:
    if len(head) < 9 or head[8:9] != b"{":
        return False
    return int.from_bytes(head[:8], "little") <= min(size, _LONGEST_HEADER)
