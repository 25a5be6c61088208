"""Faces: found in photographs and frames, cut out upright as detectors were trained on them."""

from xai.faces.align import crop, five_points, is_crop, places
from xai.faces.finding import find

__all__ = ["crop", "find", "five_points", "is_crop", "places"]
