#!/usr/bin/env bash
# do_normalize of two image processors does not decide whether pixel values are normalised.
#
# Run: bash findings/image_processor_do_normalize_has_no_say.sh   (exit status 0: as described)
# Versions: transformers 5.23.0, pillow 13.0.0, numpy 2.4.6 (the processors that need no torchvision).
#
# Situation: do_normalize, image_mean and image_std are accepted by both processors, and stored in
# preprocessor_config.json. An image of the constant value 128 (0.502 when rescaled) is processed with mean
# 0.5 and standard deviation 0.25. Normalised it is 0.008.
#
# One would expect: do_normalize=True gives 0.008 and do_normalize=False gives 0.502.
#
# What happens: MobileViT gives 0.502 for both; the flag is stored and never used. EfficientNet gives 0.031
# and 2.008: its flag include_top, on by default, divides by the standard deviation whether or not
# do_normalize is set. (Its documentation says that include_top normalises "again"; it says nothing of the
# case in which there was no first time.)
#
# Why it matters: whoever reads the stored flags in order to undo the normalisation (to draw the image under
# the heatmap), to set a baseline ("black" or "grey" in pixel values) or to choose the range of a perturbation
# computes with numbers that the model never sees. Only the processor's output can be trusted.
#
# Output seen:
#   transformers 5.23.0
#   MobileViT, do_normalize=True: every pixel 0.502
#   MobileViT, do_normalize=False: every pixel 0.502
#   EfficientNet, do_normalize=True: every pixel 0.031
#   EfficientNet, do_normalize=False: every pixel 2.008
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 pillow==13.0.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import numpy as np
import transformers
from PIL import Image
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

print(f"transformers {transformers.__version__}")
image = Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8))
rescaled = 128 / 255
stated = {
    ("MobileViT", True): rescaled,
    ("MobileViT", False): rescaled,
    ("EfficientNet", True): (rescaled - 0.5) / 0.25 / 0.25,
    ("EfficientNet", False): rescaled / 0.25,
}
classes = {"MobileViT": MobileViTImageProcessorPil, "EfficientNet": EfficientNetImageProcessorPil}
for (name, flag), value in stated.items():
    processor = classes[name](
        do_normalize=flag,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.25, 0.25, 0.25],
        size={"height": 64, "width": 64},
        crop_size={"height": 64, "width": 64},
    )
    assert processor.to_dict()["do_normalize"] is flag, f"{name} does not store do_normalize={flag}"
    pixels = processor(image, return_tensors="np")["pixel_values"]
    print(f"{name}, do_normalize={flag}: every pixel {pixels.min():.3f}")
    assert np.allclose(pixels, value, atol=1e-3), f"{name}, {flag}: {pixels.min()}, stated {value}"
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
