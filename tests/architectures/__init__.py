"""Every architecture that docs/models.md speaks of: tiny, random weights, loaded as users load theirs.

`ARCHITECTURES[name].build()` is the library's own model; `.load(folder)` saves it there and gives it to
`xai.load`: Hugging Face models with the processor that transformers chooses for them, timm and open_clip ones
from local folders, torchvision models as modules. A library is imported when one of its models is built.
"""

from architectures import huggingface, open_clip_models, timm_models, torchvision_models
from architectures.architecture import Architecture as Architecture

ARCHITECTURES: dict[str, Architecture] = {
    one.name: one
    for library in (huggingface, timm_models, open_clip_models, torchvision_models)
    for one in library.architectures()
}
"""By "LIBRARY/FAMILY"."""
