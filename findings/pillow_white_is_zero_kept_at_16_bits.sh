#!/usr/bin/env bash
# Pillow inverts a WhiteIsZero TIFF of 8 bits when reading it, and not one of 16 bits.
#
# Run: bash findings/pillow_white_is_zero_kept_at_16_bits.sh   (exit status 0: as described)
# Versions: pillow 13.0.0, numpy 2.4.6.
#
# Situation: a grey TIFF may say that zero is white (tag PhotometricInterpretation, 262, value 0). Some scanners
# write such files. Four files hold the same picture, black, a quarter, white, black: with 8
# and with 16 bits, and with zero as white and as black.
#
# One would expect: Pillow shows the same picture, in 8 or 16 bits, whichever way it was stored; or it leaves
# the numbers alone in all cases.
#
# What happens: at 8 bits both files give the same picture (mode L). At 16 bits (mode I;16) the numbers of
# the WhiteIsZero file come as they are stored: black is 65535 and white is 0, without a warning.
#
# Why it matters: a scan shown to a classifier becomes its negative, and a ground-truth mask marks the
# background, if the archive was written at 16 bits. Localisation scores against that mask are then the
# scores of the complement. tag_v2[262] tells which files are concerned.
#
# Output seen:
#   pillow 13.0.0
#   BlackIsZero, 8 bits, mode L: [0, 63, 255, 0]
#   WhiteIsZero, 8 bits, mode L: [0, 63, 255, 0]
#   BlackIsZero, 16 bits, mode I;16: [0, 16383, 65535, 0]
#   WhiteIsZero, 16 bits, mode I;16: [65535, 49152, 0, 65535]
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import pathlib
import struct
import sys

import numpy as np
import PIL
from PIL import Image

SHORT, LONG, RATIONAL = 3, 4, 5


def tiff(picture: np.ndarray, photometric: int) -> bytes:
    """A baseline grey TIFF of one uncompressed strip, little-endian."""
    data = picture.astype(picture.dtype.newbyteorder("<")).tobytes()
    resolution = struct.pack("<II", 72, 1)
    pixels_at = 8 + len(resolution)
    directory_at = pixels_at + len(data)
    height, width = picture.shape
    entries = [
        (256, SHORT, width),
        (257, SHORT, height),
        (258, SHORT, picture.dtype.itemsize * 8),
        (259, SHORT, 1),  # no compression
        (262, SHORT, photometric),
        (273, LONG, pixels_at),
        (277, SHORT, 1),  # samples per pixel
        (278, SHORT, height),  # rows per strip
        (279, LONG, len(data)),
        (282, RATIONAL, 8),  # resolution, at byte 8
        (283, RATIONAL, 8),
        (296, SHORT, 2),  # inch
    ]
    directory = struct.pack("<H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack("<HHII", tag, kind, 1, value)
    return (
        b"II*\0" + struct.pack("<I", directory_at) + resolution + data + directory + struct.pack("<I", 0)
    )


print(f"pillow {PIL.__version__}")
path = pathlib.Path(sys.argv[1]) / "scan.tif"
for dtype in (np.uint8, np.uint16):
    white = np.iinfo(dtype).max
    picture = np.array([[0, white // 4, white, 0]], dtype=dtype)
    for name, photometric, stored in (("BlackIsZero", 1, picture), ("WhiteIsZero", 0, white - picture)):
        path.write_bytes(tiff(stored, photometric))
        with Image.open(path) as image:
            assert image.tag_v2[262] == photometric
            found = np.asarray(image)
            print(f"{name}, {white.bit_length()} bits, mode {image.mode}: {found[0].tolist()}")
        kept = dtype is np.uint16 and photometric == 0
        stated = stored if kept else picture
        assert np.array_equal(found, stated), f"{name}: {found.tolist()}, stated {stated.tolist()}"
PYTHON

"$folder/venv/bin/python" "$folder/show.py" "$folder"
