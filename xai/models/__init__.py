"""What is explained: every model as a `Classifier`, from any source."""

from xai.models.classifier import Classifier
from xai.models.preprocessing import Preprocessing
from xai.models.sources import Source, list_sources, load

__all__ = ["Classifier", "Preprocessing", "Source", "list_sources", "load"]
