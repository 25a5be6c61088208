"""What is explained: every model as a `Classifier`, from any source."""

from xai.models.classifier import Classifier, LoadOptions
from xai.models.families import list_families
from xai.models.fetch import Fetchable, fetch_model, list_fetchable
from xai.models.layouts import Family
from xai.models.preprocessing import Preprocessing
from xai.models.sources import Source, list_sources, load

__all__ = [
    "Classifier",
    "Family",
    "Fetchable",
    "LoadOptions",
    "Preprocessing",
    "Source",
    "fetch_model",
    "list_families",
    "list_fetchable",
    "list_sources",
    "load",
]
