#!/usr/bin/env bash
# PAIR's picture of signed maps puts zero at 0.5 of a scale from -1 to 1, so evidence against a class looks like evidence for it.
#
# Run: bash findings/pair_saliency_diverging_picture_has_zero_in_the_middle_of_its_positive_half.sh
# (exit status 0: as described)
# Versions: saliency 0.2.1, numpy 2.4.6, scikit-image 0.26.0.
#
# Situation: VisualizeImageDiverging, which by its docstring returns "a 2D tensor with positive and negative values", is given a
# map of known values: -4, -2, -1, 0, 1, 2 and 4 times the value at which its scale ends (the 99th percentile).
#
# One would expect: 0 at 0, and positive and negative values of one size at the same distance from it, to be drawn with a
# diverging scale from -1 to 1.
#
# What happens: the values are first moved to [0, 1], as for a scale without sign, with zero at 0.5, and then clipped to
# [-1, 1]. On a diverging scale no evidence at all is drawn like evidence of half the full strength for the class, and all
# evidence against it up to the limit as none or for it; positive values are cut at the limit, negative ones at three times
# that. A map that is zero everywhere comes out as NaN.
#
# Why it matters: a signed map is drawn in order to tell for from against. In this one both are mostly on one side of white.
#
# Output seen:
#   saliency 0.2.1, numpy 2.4.6
#   given (times the limit)   -4 -2 -1 0 1 2 4
#   returned                  -1 -0.5 0 0.5 1 1 1
#   a normal map of 64 × 64: negative values returned as positive or 0: 98 %
#   a map of zeros: nan everywhere
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet saliency==0.2.1 numpy==2.4.6 scikit-image==0.26.0

cat > "$folder/show.py" <<'PYTHON'
import warnings
from importlib.metadata import version

import numpy as np
import saliency.core as saliency

print(", ".join(f"{name} {version(name)}" for name in ("saliency", "numpy")))


def picture(values):
    return saliency.VisualizeImageDiverging(np.asarray(values, float)[..., None])  # one channel: its sum is itself


given = np.array([-4, -2, -1, 0, 1, 2, 4], float)
values = np.zeros((100, 100))
values.flat[: len(given)] = given
values[90:] = 1  # a tenth of the map: the 99th percentile is 1
assert np.percentile(values, 99) == 1
found = picture(values).flat[: len(given)]
print("given (times the limit)  ", *(f"{one:g}" for one in given))
print("returned                 ", *(f"{one:g}" for one in found))
assert np.allclose(found, [-1, -0.5, 0, 0.5, 1, 1, 1])

normal = np.random.default_rng(0).normal(size=(64, 64))
share = (picture(normal)[normal < 0] >= 0).mean()
print(f"a normal map of 64 × 64: negative values returned as positive or 0: {100 * share:.0f} %")
assert round(share, 2) == 0.98, share

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # numpy's, of 0 / 0
    nothing = picture(np.zeros((8, 8)))
assert np.isnan(nothing).all()
print("a map of zeros: nan everywhere")
PYTHON

"$folder/venv/bin/python" "$folder/show.py"
