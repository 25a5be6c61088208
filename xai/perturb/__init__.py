"""Removing evidence: operators, orders of units, and one stream of perturbed states through the model."""

from xai.perturb.blur import Blur, RiseBlur
from xai.perturb.operator import (
    OPERATORS,
    Operator,
    PixelOperator,
    baseline_images,
    make_operator,
    on_pixels,
    operator_of,
)
from xai.perturb.ranks import image_seeds, rank_units, tie_fraction
from xai.perturb.replace import Constant, Mean, Minimum, Noise
from xai.perturb.road import Road
from xai.perturb.scores import SCORES
from xai.perturb.states import Request, States
from xai.perturb.stream import Stream, evaluation_mode, without_graph
from xai.perturb.token import Token

__all__ = [
    "OPERATORS",
    "SCORES",
    "Blur",
    "Constant",
    "Mean",
    "Minimum",
    "Noise",
    "Operator",
    "PixelOperator",
    "Request",
    "RiseBlur",
    "Road",
    "States",
    "Stream",
    "Token",
    "baseline_images",
    "evaluation_mode",
    "image_seeds",
    "make_operator",
    "on_pixels",
    "operator_of",
    "rank_units",
    "tie_fraction",
    "without_graph",
]
