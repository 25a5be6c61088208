"""Removing evidence: operators, orders of patches, and one stream of perturbed states through the model.

An operator is a frozen dataclass under `@register` and a line below: `PixelOperator` where removed pixels
take those of a baseline image (`prepare` makes it), `Operator` where the model is asked in another way.
"""

from xai.attention import evaluation_mode as evaluation_mode
from xai.attention.running import without_graph as without_graph
from xai.core.target import SCORES as SCORES
from xai.perturb.attack import Adversarial as Adversarial
from xai.perturb.attack import Attack as Attack
from xai.perturb.blur import Blur as Blur
from xai.perturb.blur import RiseBlur as RiseBlur
from xai.perturb.operator import OPERATORS as OPERATORS
from xai.perturb.operator import AnyOperator as AnyOperator
from xai.perturb.operator import Operator as Operator
from xai.perturb.operator import PixelOperator as PixelOperator
from xai.perturb.operator import baseline_images as baseline_images
from xai.perturb.operator import make_operator as make_operator
from xai.perturb.operator import on_pixels as on_pixels
from xai.perturb.operator import operator_of as operator_of
from xai.perturb.ranks import image_seeds as image_seeds
from xai.perturb.ranks import rank_units as rank_units
from xai.perturb.ranks import tie_fraction as tie_fraction
from xai.perturb.replace import Constant as Constant
from xai.perturb.replace import Mean as Mean
from xai.perturb.replace import Minimum as Minimum
from xai.perturb.replace import Noise as Noise
from xai.perturb.replace import RegionMean as RegionMean
from xai.perturb.road import Road as Road
from xai.perturb.segments import SEGMENTATIONS as SEGMENTATIONS
from xai.perturb.segments import Cells as Cells
from xai.perturb.segments import Segmentation as Segmentation
from xai.perturb.segments import Slic as Slic
from xai.perturb.segments import segmentation_of as segmentation_of
from xai.perturb.states import Request as Request
from xai.perturb.states import States as States
from xai.perturb.stream import Stream as Stream
from xai.perturb.token import Token as Token
