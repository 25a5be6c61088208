#!/usr/bin/env bash
# PAIR's saliency adds up its occlusion windows: a pixel in the middle counts 225 times as much as one in a corner.
#
# Run: bash findings/pair_saliency_occlusion_counts_the_middle_225_times.sh   (exit status 0: as described)
# Versions: saliency 0.2.1, numpy 2.4.6, scikit-image 0.26.0.
#
# Situation: a grey image of 45 × 45 pixels, Occlusion().GetMask with its own window of 15 pixels, and two classifiers
# whose answers are known: the mean brightness of the image, to which every pixel adds the same, and the sum of two
# pixels, one in a corner and one in the middle, to which nothing else adds.
#
# One would expect: a flat map of the first, and the same value at both pixels of the second. So it is where every pixel
# gets the mean over the windows that covered it.
#
# What happens: every pixel gets the sum over its windows, which move by one pixel and stay inside the image. A corner is
# covered by one, the middle of an edge by 15, the inside by 15 · 15. So the first map is a pyramid with a flat top, and in
# the second 838 pixels, of which 837 have no say, are above the corner that decides as much as the middle.
#
# Why it matters: the map looks like a finding about the middle, where faces are. Traces of a forgery near the border (hair,
# neck, the seam of a pasted face that fills the crop) are ranked below whatever lies inside. Dividing by the count of
# windows, which is known beforehand, mends the map.
#
# Output seen:
#   saliency 0.2.1, numpy 2.4.6
#   mean brightness: corner 1, middle of an edge 15, middle 225 (times the corner)
#   two pixels alike: corner 0.5, middle 112.5; pixels above the corner: 838
#   divided by the windows that cover a pixel: mean brightness 1 to 1, two pixels 0.5 and 0.5
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet saliency==0.2.1 numpy==2.4.6 scikit-image==0.26.0

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
import saliency.core as saliency

print(", ".join(f"{name} {version(name)}" for name in ("saliency", "numpy")))
SIDE, WINDOW, MIDDLE = 45, 15, 22
image = np.full((SIDE, SIDE, 3), 0.5)


def occlusion(score):
    def model(images, call_model_args=None, expected_keys=None):
        return {saliency.OUTPUT_LAYER_VALUES: score(images)}

    found = saliency.Occlusion().GetMask(image, model, size=WINDOW)
    assert np.ptp(found, axis=2).max() == 0, "the channels differ"
    return found[..., 0]


starts = np.arange(SIDE - WINDOW + 1)
along = np.array([((starts <= at) & (at < starts + WINDOW)).sum() for at in range(SIDE)])
windows = np.outer(along, along)

brightness = occlusion(lambda images: images.mean((1, 2, 3)))
times = brightness / brightness[0, 0]
seen = [times[0, 0], times[0, MIDDLE], times[MIDDLE, MIDDLE]]
print("mean brightness: corner {:.0f}, middle of an edge {:.0f}, middle {:.0f} (times the corner)".format(*seen))
assert np.allclose(seen, [1, WINDOW, WINDOW**2], rtol=1e-6)

two = occlusion(lambda images: images[:, 0, 0].mean(-1) + images[:, MIDDLE, MIDDLE].mean(-1))
above = int((two > two[0, 0] * 1.001).sum())
print(f"two pixels alike: corner {two[0, 0]:g}, middle {two[MIDDLE, MIDDLE]:g}; pixels above the corner: {above}")
assert (two[0, 0], two[MIDDLE, MIDDLE], above) == (0.5, 112.5, 838)

flat, pair = times / windows, two / windows
print(
    f"divided by the windows that cover a pixel: mean brightness {flat.min():g} to {flat.max():g}, "
    f"two pixels {pair[0, 0]:g} and {pair[MIDDLE, MIDDLE]:g}"
)
assert np.allclose(flat, 1) and pair[0, 0] == pair[MIDDLE, MIDDLE]
PYTHON

"$folder/venv/bin/python" "$folder/show.py"
