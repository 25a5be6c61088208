"""Protocols by name: ours for vision transformers, and the conventions of the literature."""

from typing import Any

from xai.metrics.protocol import PROTOCOLS, Protocol
from xai.perturb import Cells, Slic, make_operator


def _preset(name: str, **fields: Any) -> Protocol:
    return PROTOCOLS.add(name)(Protocol(name=name, **fields))


_GREY = make_operator("constant", value=0.0, space="normalised")
_PUBLISHED: dict[str, Any] = {"unit": "pixel", "ties": "stable", "value": "probability"}

_preset(
    "vit-token",
    unit="patch",
    operator=make_operator("token"),
    steps=14,
    reference="True missingness after Jain et al. 2022 (arXiv 2204.08945); patch units; logit margin.",
)
PROTOCOLS.add("vit")(
    _preset(
        "vit-mean",
        unit="patch",
        operator=make_operator("mean"),
        steps=14,
        reference="Patches replaced by the image's mean colour; logit margin.",
    )
)
_preset(
    "vit-blur",
    unit="patch",
    operator=make_operator("blur", kernel=61, sigma=10.0),
    steps=14,
    reference="Patches replaced by the blurred image (Gaussian, sigma 10, cut at 3 sigma); logit margin.",
)
_RISE: dict[str, Any] = {
    **_PUBLISHED,
    "operator": _GREY,
    "insertion_operator": make_operator("rise_blur", klen=11, sigma=5.0),
    "target": "predicted",
    "auc": "uniform",
}
_preset(
    "rise",
    **_RISE,
    step_units="8W",
    reference="Petsiuk et al. 2018 (arXiv 1806.07421), the published batch run: 28 steps at 224 pixels. "
    "Deviation: equal relevance is ordered by position, where the code's order depends on the processor.",
)
_preset(
    "rise-224",
    **_RISE,
    step_units="W",
    reference="Petsiuk et al. 2018 (arXiv 1806.07421), the published single run: a row of pixels a step. "
    "Deviation: as rise.",
)
_preset(
    "chefer",
    unit="pixel",
    operator=make_operator("constant", value=0.0, space="pixel"),
    fractions=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    ends=False,
    ties="stable",
    upsampling="bilinear",
    value="accuracy",
    target="label",
    reference="Chefer et al. 2021 (arXiv 2012.09838), positive (morf) and negative (lerf) perturbation: "
    "black pixels, top-1 accuracy, area from 0 to 0.9 with the clean point, as by its author (× 100 there).",
)
_preset(
    "road",
    unit="pixel",
    operator=make_operator("road"),
    fractions=(0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9),
    ends=False,
    ties="random",
    value="probability",
    target="label",
    auc="mean",
    reference="Rong et al. 2022 (arXiv 2202.00449): noisy linear imputation, mean probability of the label "
    "over the published shares (the paper also gives accuracy: value=accuracy). Deviation: lerf removes the "
    "published shares, where the code keeps them.",
)
_preset(
    "tis",
    **_PUBLISHED,
    operator=make_operator("blur", kernel=11, sigma=5.0),
    steps=224,
    ends=False,
    upsampling="bilinear",
    target="label",
    reference="Englebert et al. 2023, Transformer Input Sampling: blur for deletion and insertion, 224 steps "
    "without the clean point. The code stores curves; the area (trapezoid over its shares) is ours.",
)
_preset(
    "m4",
    **_PUBLISHED,
    operator=make_operator("constant", value=127 / 255, space="pixel"),
    steps=20,
    upsampling="bilinear",
    target="predicted",
    auc="mean",
    reference="Li et al. 2023, M4, by InterpretDL: grey 127, 20 percentile steps, plain mean. Deviation: the "
    "code keeps equal relevance together (a rectified map jumps at its zeros) and its insertion lacks "
    "the point with nothing inserted; we order ties by position and have both ends.",
)
_preset(
    "quantus-pixel-flipping",
    **_PUBLISHED,
    operator=make_operator("minimum"),
    step_units="W",
    ends=False,
    target="label",
    auc="unnormalised",
    reference="Quantus PixelFlipping: per-image minimum, curve without the clean point, trapezoid of unit "
    "steps (grows with their number). Deviation: the code orders the three channel values of a pixel apart "
    "(features_in_step=224 takes 672 steps at 224 pixels); we remove whole pixels, a row's worth a step.",
)
_TSIGOS: dict[str, Any] = {
    "unit": "segment",
    "operator": make_operator("attack"),
    "ends": False,
    "ties": "random",
    "upsampling": "bilinear",
    "value": "probability",
    "target": "label",
    "auc": "mean",
    "images": "correct",
}
_preset(
    "tsigos",
    **_TSIGOS,
    segments=Slic(),
    fractions=(0.02, 0.04, 0.06),
    reference="Tsigos et al. 2024 (arXiv 2404.18649): the 1, 2 and 3 most relevant of 50 SLIC segments are "
    "changed by natural evolution strategies (40 samples, 50 iterations). comprehensiveness is the drop of "
    "the score (there: sufficiency), accuracy_drop that of accuracy, morf the curve. Deviations: the search "
    "lowers the log-odds of the class given, where the code raises the probability of real, which saturates; "
    "16/255 bounds the sum of all steps, where the code bounds each step, which never comes into play; "
    "images that the model misses are left out, where the code counts no drop; ties are broken at random.",
)
_preset(
    "tsigos-cells",
    **_TSIGOS,
    segments=Cells(),
    fractions=(1 / 49, 2 / 49, 3 / 49),
    reference="As tsigos, on 7×7 cells, which need no library and follow no edges.",
)
