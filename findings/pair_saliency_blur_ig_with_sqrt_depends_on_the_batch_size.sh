#!/usr/bin/env bash
# PAIR's Blur IG with sqrt=True gives another map for every batch size, and blurs by 7 pixels where 50 were asked for.
#
# Run: bash findings/pair_saliency_blur_ig_with_sqrt_depends_on_the_batch_size.sh   (exit status 0: as described)
# Versions: saliency 0.2.1, numpy 2.4.6, scikit-image 0.26.0.
#
# Situation: BlurIG().GetMask of a random image of 32 × 32 pixels, max_sigma=50 and 100 steps, for a model whose gradient is
# known (y = ½ Σ x², so ∂y/∂x = x). sqrt=True spaces the steps by the square root; batch_size says how many of the images
# between are given to the model at once. What the model is given is kept, and compared with blurred images.
#
# One would expect: batch_size changes time and memory, not the map; and the strongest blur is near max_sigma whatever the
# spacing.
#
# What happens: with sqrt=True the gradients of a whole batch are weighted by the width of the batch's last step, and those
# widths shrink along the path: from 1 image at a time to 100 the map's sum falls by half. With even spacing all widths are the
# same and nothing shows. And the square root is taken of i · max_sigma / steps, so the path ends at √50 = 7.07 pixels instead
# of 50: most of the image's coarse content is never blurred away, and its share is in no pixel of the map.
#
# Why it matters: a larger batch, for speed alone, gives other numbers without a word; and the sum of the map, by which
# integrated gradients are checked, has the wrong start.
#
# Output seen:
#   saliency 0.2.1, numpy 2.4.6
#   sqrt=False: sum of the map for batches of 1, 4, 25, 100: 551 551 551 551; strongest blur 49.5
#   sqrt=True: sum of the map for batches of 1, 4, 25, 100: 209 190 142 97; strongest blur 7.04
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet saliency==0.2.1 numpy==2.4.6 scikit-image==0.26.0 scipy==1.17.1

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version
from math import sqrt

import numpy as np
import saliency.core as saliency
from scipy.ndimage import gaussian_filter

print(", ".join(f"{name} {version(name)}" for name in ("saliency", "numpy")))
MAX_SIGMA, STEPS, BATCHES = 50, 100, (1, 4, 25, 100)
image = np.random.default_rng(0).random((32, 32, 3))


def blur_ig(by_root, batch_size):
    given = []

    def model(images, call_model_args=None, expected_keys=None):
        given.extend(images)
        return {saliency.INPUT_OUTPUT_GRADIENTS: np.asarray(images)}

    found = saliency.BlurIG().GetMask(
        image, model, max_sigma=MAX_SIGMA, steps=STEPS, sqrt=by_root, batch_size=batch_size
    )
    assert len(given) == STEPS
    return found.sum(), given[-1]


for by_root in (False, True):
    sums, strongest = zip(*(blur_ig(by_root, size) for size in BATCHES), strict=True)
    share = (STEPS - 1) / STEPS * MAX_SIGMA  # of the last step before the end
    sigma = sqrt(share) if by_root else share
    blurred = gaussian_filter(image, [sigma, sigma, 0], mode="constant")
    assert all(np.allclose(one, blurred, atol=1e-9) for one in strongest), "another blur than said"
    print(
        f"sqrt={by_root}: sum of the map for batches of {', '.join(map(str, BATCHES))}: "
        f"{' '.join(f'{one:.0f}' for one in sums)}; strongest blur {sigma:.3g}"
    )
    if by_root:
        assert all(later < 0.95 * earlier for earlier, later in zip(sums, sums[1:])), sums
        assert sums[-1] < 0.5 * sums[0]
    else:
        assert np.allclose(sums, sums[0], rtol=1e-9)
PYTHON

"$folder/venv/bin/python" "$folder/show.py"
