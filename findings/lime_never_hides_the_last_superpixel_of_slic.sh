#!/usr/bin/env bash
# LIME never hides the last superpixel of SLIC: a classifier that looks only at it gets an explanation of zeros.
#
# Run: bash findings/lime_never_hides_the_last_superpixel_of_slic.sh   (exit status 0: as described)
# Versions: lime 0.2.0.1, scikit-image 0.26.0.
#
# Situation: an image of four flat quadrants is segmented by LIME's own wrapper, SegmentationAlgorithm("slic").
# Four classifiers are explained: each gives the brightness of one quadrant as its probability.
#
# One would expect: each quadrant is hidden in about half of the samples, and its classifier's whole weight is
# on it, whichever of the four it is.
#
# What happens: LIME counts the distinct labels, n, and hides those named 0 to n - 1. SLIC counts from 1
# (scikit-image's default since 0.19), so its label n is hidden in no sample, and label 0 names no pixel. The fourth
# quadrant's classifier answers alike in every sample: all weights are zero, and none bears the name of its
# superpixel. Nothing is said. With start_label=0 all four are found, as with LIME's default, quickshift, which
# counts from 0.
#
# Why it matters: SLIC numbers from the top, so the last superpixel lies at the bottom: a chin, in a crop of a face.
# The map has no value for it, whatever the classifier makes of it, and ranks it with those that do not matter.
#
# Output seen:
#   lime 0.2.0.1, scikit-image 0.26.0
#   default: labels 1 2 3 4, weights named 0 1 2 3, never hidden: quadrant 4
#   weight of the quadrant that decides: 0.48 0.48 0.48 missing, the others' largest 0.00
#   start_label=0: labels 0 1 2 3, weights named 0 1 2 3, never hidden: none
#   weight of the quadrant that decides: 0.48 0.48 0.48 0.48, the others' largest 0.00
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lime==0.2.0.1 scikit-image==0.26.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
from lime.lime_image import LimeImageExplainer
from lime.wrappers.scikit_image import SegmentationAlgorithm

print(", ".join(f"{name} {version(name)}" for name in ("lime", "scikit-image")))
SIDE, HALF = 32, 16
QUADRANTS = [np.s_[:HALF, :HALF], np.s_[:HALF, HALF:], np.s_[HALF:, :HALF], np.s_[HALF:, HALF:]]
COLOURS = [(1, 0.5, 0), (0, 1, 0.5), (0.5, 0, 1), (1, 0, 0.5)]
image = np.zeros((SIDE, SIDE, 3))
for place, colour in zip(QUADRANTS, COLOURS, strict=True):
    image[place] = colour


def explain(segment, quadrant):
    hidden = set()

    def classify(images):
        hidden.update(n for n, place in enumerate(QUADRANTS) if any((one[place] == 0).all() for one in images))
        brightness = np.array([one[QUADRANTS[quadrant]].mean() for one in images])
        return np.stack([1 - brightness, brightness], axis=1)

    explainer = LimeImageExplainer(random_state=0)
    found = explainer.explain_instance(
        image, classify, labels=(1,), top_labels=None, hide_color=0, num_samples=200, segmentation_fn=segment
    )
    return dict(found.local_exp[1]), hidden


for name, options, lost in (("default", {}, [3]), ("start_label=0", {"start_label": 0}, [])):
    segment = SegmentationAlgorithm("slic", n_segments=4, compactness=1, sigma=0, **options)
    labels = segment(image)
    names = [int(labels[place].min()) for place in QUADRANTS]
    assert [int(labels[place].max()) for place in QUADRANTS] == names, "a quadrant is not one superpixel"
    weights, seen = [], set()
    for quadrant in range(4):
        found, hidden = explain(segment, quadrant)
        weights.append(found)
        seen |= hidden
    never = [n for n in range(4) if n not in seen]
    assert never == lost, never
    keys = sorted(int(key) for key in weights[0])
    said = ", ".join(f"quadrant {n + 1}" for n in never) or "none"
    print(f"{name}: labels {' '.join(map(str, names))}, weights named {' '.join(map(str, keys))}, never hidden: {said}")
    own = [found.pop(label, None) for found, label in zip(weights, names, strict=True)]
    rest = max(abs(weight) for found in weights for weight in found.values())
    shown = " ".join("missing" if weight is None else f"{weight:.2f}" for weight in own)
    print(f"weight of the quadrant that decides: {shown}, the others' largest {rest:.2f}")
    assert [n for n in range(4) if own[n] is None] == lost
    assert all(weight > 0.45 for weight in own if weight is not None) and rest < 0.01
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
