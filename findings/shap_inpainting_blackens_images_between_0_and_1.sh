#!/usr/bin/env bash
# SHAP's inpainting masker shows a classifier black pictures where pixels lie between 0 and 1: the map is a constant.
#
# Run: bash findings/shap_inpainting_blackens_images_between_0_and_1.sh   (exit status 0: as described)
# Versions: shap 0.51.0, opencv-python-headless 5.0.0.93.
#
# Situation: shap.Explainer with maskers.Image("inpaint_telea") explains a classifier that gives the brightness of a
# square; the same picture as floats from 0 to 255, of which the classifier takes a 255th, and from 0 to 1.
#
# One would expect: hidden pixels are filled in from their neighbours and visible ones stay, as with "blur(5,5)". The
# two maps are the same but for rounding, and lie on the square.
#
# What happens: for OpenCV the masker converts the image to 8-bit integers and back. What lies below 1 becomes 0,
# hidden or not, and also where nothing is hidden: the classifier is shown a black picture each time. Only where
# everything is hidden does it see the mean colour. So SHAP finds that each pixel lowers the score by the same
# amount, to rounding, and the values add up to the score of black less that of the mean colour. Nothing is said.
#
# Why it matters: PyTorch's images lie between 0 and 1. The flat map reads as "no region matters", and scaled to its
# own range it shows rounding noise.
#
# Output seen:
#   shap 0.51.0, opencv-python-headless 5.0.0.93
#   blur(5,5), 0 to 255: visible pixels kept: 100 %; score 0.78, base and values 0.78; on the square 1.00, spread 1.00
#   blur(5,5), 0 to 1: visible pixels kept: 100 %; score 0.78, base and values 0.78; on the square 1.00, spread 1.00
#   inpaint_telea, 0 to 255: visible pixels kept: 100 %; score 0.78, base and values 0.78; on the square 1.02, spread 1.04
#   inpaint_telea, 0 to 1: visible pixels kept: 0 %; score 0.78, base and values 0.00; on the square 0.06, spread 0.00
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet shap==0.51.0 opencv-python-headless==5.0.0.93 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
import shap

print(", ".join(f"{name} {version(name)}" for name in ("shap", "opencv-python-headless")))
SIDE, SQUARE = 16, np.s_[4:8, 8:12]
picture = np.random.default_rng(0).integers(1, 100, (SIDE, SIDE, 3)).astype(np.float32)
picture[SQUARE] += 150


def explain(image, way, scale):
    def brightness(images):
        return np.asarray(images, float)[(slice(None), *SQUARE)].mean((1, 2, 3))[:, None] / scale

    masker = shap.maskers.Image(way, image.shape)
    one_hidden = np.ones(image.shape, bool)
    one_hidden[0, 0] = False
    ((shown,),) = masker(one_hidden.ravel(), image)
    kept = float((shown == image).all(2)[one_hidden.all(2)].mean())
    found = shap.Explainer(brightness, masker)(image[None], max_evals=600, batch_size=50)
    values = found.values[0, ..., 0].sum(-1)
    score = float(brightness(image[None])[0, 0])
    return kept, values, score, float(found.base_values[0, 0] + values.sum())


for way in ("blur(5,5)", "inpaint_telea"):
    for scale in (255, 1):
        kept, values, score, total = explain(picture * scale / 255, way, scale)
        inside = float(values[SQUARE].sum() / values.sum())
        spread = float(np.ptp(values) / np.abs(values).max())
        print(f"{way}, 0 to {scale}: visible pixels kept: {kept:.0%};".replace("%", " %"), end=" ")
        print(f"score {score:.2f}, base and values {round(total, 2) + 0.0:.2f}; on the square {inside:.2f}, spread {spread:.2f}")
        if (way, scale) == ("inpaint_telea", 1):
            assert kept == 0 and abs(total) < 1e-5 and spread < 1e-4 and score > 0.7
            assert abs(inside - 16 / SIDE**2) < 1e-4, inside
        else:
            assert kept == 1 and abs(total - score) < 1e-2 and inside > 0.9 and spread > 0.9
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
