"""What a file that is no readable image holds, from its first bytes: a suffix may say anything."""

MOST = 1024  # bytes looked at

_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_AVIF = {b"avif", b"avis"}
_AS_IMAGE = "Save it as PNG or JPEG"
_AS_HEIC = f"{_AS_IMAGE}, for example with pip install pillow-heif and its heif-convert or PIL plugin."
_FRAME = "Save the frame to be looked at as PNG."
_RAW = "Develop it, and save it as PNG, TIFF or JPEG."

# (offset, bytes, what it is, what to do)
_BEGINNINGS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\xff\x0a", "a JPEG XL image", f"{_AS_IMAGE}."),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", f"{_AS_IMAGE}."),
    (0, b"8BPS", "a Photoshop document", f"{_AS_IMAGE}."),
    (0, b"%PDF", "a PDF document", f"{_AS_IMAGE}."),
    (0, b"%!PS", "a PostScript document", f"{_AS_IMAGE}."),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", f"{_AS_IMAGE}."),
    (0, b"v/1\x01", "an OpenEXR image", f"{_AS_IMAGE}."),
    (0, b"#?RADIANCE", "a Radiance HDR image", f"{_AS_IMAGE}."),
    (0, b"DDS ", "a DirectDraw surface", f"{_AS_IMAGE}."),
    (0, b"\0\0\1\0", "an icon", f"{_AS_IMAGE}."),
    (8, b"CR\x02", "a camera's raw file", _RAW),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file", _RAW),
    (0, b"IIRO", "a camera's raw file", _RAW),
    (0, b"IIRS", "a camera's raw file", _RAW),
    (0, b"MMOR", "a camera's raw file", _RAW),
    (0, b"IIU\0", "a camera's raw file", _RAW),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)", _FRAME),
    (8, b"AVI ", "a video (AVI)", _FRAME),
    (0, b"\0\0\1\xba", "a video (MPEG)", _FRAME),
    (0, b"\0\0\1\xb3", "a video (MPEG)", _FRAME),
    (0, b"FLV", "a video (Flash)", _FRAME),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch it: git lfs pull"),
    (0, b"PK\x03\x04", "a ZIP archive", "Unpack it."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it."),
    (0, b"\x93NUMPY", "a NumPy array", f"{_AS_IMAGE}."),
    (0, b"<svg", "an SVG drawing", f"{_AS_IMAGE}."),
    (0, b"<!doctype html", "a web page, perhaps of a failed download", "Download the image again."),
    (0, b"<html", "a web page, perhaps of a failed download", "Download the image again."),
)


def what_it_is(head: bytes) -> tuple[str, str] | None:
    """Name what the bytes begin, and say what to do with it; None where that is not known.

    Args:
        head: The first `MOST` bytes of a file.
    """
    if head[4:8] == b"ftyp":
        return _container(head)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for offset, sign, words, advice in _BEGINNINGS:
        if head[offset : offset + len(sign)] == sign or (sign[:1] == b"<" and text.startswith(sign)):
            return words, advice
    if text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text:
        return "an SVG drawing", f"{_AS_IMAGE}."
    return None


def _container(head: bytes) -> tuple[str, str]:
    """ISO base media (ISO/IEC 14496-12): the major brand, then those it is compatible with."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands & _AVIF:
        return "AVIF, which this build of Pillow cannot read", f"{_AS_IMAGE}."
    if brands & _HEIC:
        return "a HEIC/HEIF photograph", _AS_HEIC
    if b"crx " in brands:
        return "a camera's raw file", _RAW
    return "a video (MP4 or QuickTime)", _FRAME
