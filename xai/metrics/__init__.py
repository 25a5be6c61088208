"""How faithful a map is: perturbation curves and stricter tests, each under a named, hashed protocol.

A metric is a function or class and a line below. One that asks the model about perturbed images derives from
`PerturbationMetric` (or `CurveMetric`, the area under one curve) and is entered by `value_function` or
`curve_function`; it then shares the model's passes with all others. Any other is a function under
`@register(MetricInfo(...))`: of a map (`sparsity`), a map and the truth (`localisation`), maps of two classes
(`similarity`) or a callable that explains (`captum_metrics`, `randomization`).
"""

from xai.metrics.base import Curve as Curve
from xai.metrics.base import MetricInfo as MetricInfo
from xai.metrics.base import PerturbationMetric as PerturbationMetric
from xai.metrics.base import Scores as Scores
from xai.metrics.captum_metrics import infidelity as infidelity
from xai.metrics.captum_metrics import sensitivity_max as sensitivity_max
from xai.metrics.context import Context as Context
from xai.metrics.context import predict as predict
from xai.metrics.correlation import faithfulness_correlation as faithfulness_correlation
from xai.metrics.curves import accuracy_drop as accuracy_drop
from xai.metrics.curves import area as area
from xai.metrics.curves import comprehensiveness as comprehensiveness
from xai.metrics.curves import deletion as deletion
from xai.metrics.curves import insertion as insertion
from xai.metrics.curves import lerf as lerf
from xai.metrics.curves import morf as morf
from xai.metrics.curves import srg as srg
from xai.metrics.curves import sufficiency as sufficiency
from xai.metrics.greedy import greedy_forwards as greedy_forwards
from xai.metrics.greedy import greedy_order as greedy_order
from xai.metrics.localisation import average_precision as average_precision
from xai.metrics.localisation import iou as iou
from xai.metrics.localisation import mass_accuracy as mass_accuracy
from xai.metrics.localisation import pointing_game as pointing_game
from xai.metrics.localisation import pointing_game_clicks as pointing_game_clicks
from xai.metrics.localisation import rank_accuracy as rank_accuracy
from xai.metrics.presets import PROTOCOLS as PROTOCOLS
from xai.metrics.protocol import Protocol as Protocol
from xai.metrics.protocol import protocol as protocol
from xai.metrics.randomization import Randomization as Randomization
from xai.metrics.randomization import randomization as randomization
from xai.metrics.registry import METRICS as METRICS
from xai.metrics.registry import PERTURBATION_METRICS as PERTURBATION_METRICS
from xai.metrics.registry import evaluate as evaluate
from xai.metrics.registry import list_metrics as list_metrics
from xai.metrics.registry import perturbation_metric as perturbation_metric
from xai.metrics.registry import register as register
from xai.metrics.robustness import MapRobustness as MapRobustness
from xai.metrics.robustness import robustness as robustness
from xai.metrics.robustness import unrelated_agreement as unrelated_agreement
from xai.metrics.saco import saco as saco
from xai.metrics.similarity import class_sensitivity as class_sensitivity
from xai.metrics.sparsity import entropy as entropy
from xai.metrics.sparsity import gini as gini
