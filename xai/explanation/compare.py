"""`xai.compare`: several methods on the same images, from Python."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from xai.attr import COMPARED, METHODS, resolve_method
from xai.core import UsageError
from xai.core.language import language
from xai.explanation.arguments import boxes_for, check_arguments, check_method, check_methods, face_finder
from xai.explanation.comparison import MethodComparison, compare_methods, write_comparison
from xai.explanation.explainer import choose_method, options_of
from xai.explanation.inputs import Source, gather
from xai.models import Classifier, load

if TYPE_CHECKING:
    from xai.report.payload import Page


def compare(
    images: Source | Iterable[Source],
    model: str | nn.Module = "demo",
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    *,
    target: str | int | None = None,
    out: str | Path | None = None,
    box: tuple[float, float, float, float] | None = None,
    boxes: str | Path | None = None,
    face: str | int | None = None,
    whole_image: bool = False,
    batch_size: int = 8,
    seed: int = 0,
    progress: bool | None = None,
    lang: str | None = None,
    **options: Any,
) -> MethodComparison:
    """Explain the same class of the same images with several methods.

    Args:
        images: Paths, folders, globs, manifests, PIL images or samples; at most 50 images.
        model: What `xai.load` takes alone: "demo", another spec, a `Classifier`.
        methods: Names of methods and presets, or each with its options. Default: what `xai.explain` takes
            for this model, then gradient-weighted attention, attention rollout and integrated gradients.
        target: One class or contrast; default the class predicted for the first image that can be read.
        out: Folder for the picture, the maps and the JSON record; None writes nothing.
        box: (x, y, width, height) in pixels: explain this crop of each image, drawn on the whole image.
        boxes: CSV file with one box per image, columns image,x,y,w,h.
        face: Explain faces found in each photograph, see `xai.explain`.
        whole_image: Look for no faces.
        batch_size: Most images at once.
        seed: Of methods that draw random numbers.
        progress: Whether a bar is shown; None: on a terminal and in a notebook, to who has to wait.
        lang: Language of what is written and of what a notebook shows; None: the current one.
        options: Of the methods that have them, such as `layers="all_layers"`.

    Raises:
        UsageError: An unknown method, option or class, or too many images.
        DataError: No image can be read.
        ModelError: A method does not work on the model.

    Examples:
        >>> import xai
        >>> from xai.data import shipped_samples
        >>> found = xai.compare(shipped_samples()[0].path, methods=["attention_rollout", "saliency"])
        >>> found.label, list(found.rows[0])
        ('real', ['attention_rollout', 'saliency'])
    """
    with language(lang):
        check_arguments(out=out, boxes=boxes, whole_image=whole_image, batch_size=batch_size, seed=seed)
        classifier, folder = load(model), None if out is None else Path(out)
        box_of = boxes_for(box, boxes)
        comparison = compare_methods(
            classifier,
            methods_with_options(classifier, methods, options, seed),
            gather(images, folder),
            target,
            box_of=box_of,
            faces=face_finder(classifier, face, whole_image=whole_image, box_of=box_of),
            batch_size=batch_size,
            seed=seed,
            progress=progress,
        )
        if folder is not None and comparison.rows:
            write_comparison(comparison, folder)
    return comparison


def methods_with_options(
    classifier: Classifier,
    methods: Sequence[str] | Mapping[str, Mapping[str, Any]] | None,
    options: Mapping[str, Any],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Each method to compare with its options: its own, and those of `options` that it has.

    Args:
        classifier: What is explained; says which method is the default.
        methods: Names of methods, presets, or of code as `module:Class`, which is imported; None: the default
            method and three more.
        options: Of any of them.
        seed: Of methods that draw random numbers.

    Raises:
        UsageError: An unknown method, or an option that none of them has.
    """
    if methods is not None:
        check_methods(methods)
    names = COMPARED if methods is None else methods
    own = methods if isinstance(methods, Mapping) else {}
    chosen: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for name in names:
        method = check_method(name)
        known = METHODS.resolve(method, trusted=True) if isinstance(method, str) else METHODS.enter(method)
        has = set(signature(METHODS[resolve_method(known, {})[0]]).parameters) & set(options)
        taken |= has
        chosen[known] = {key: options[key] for key in options if key in has} | dict(own.get(name, {}))
    if unknown := [key for key in options if key not in taken]:
        raise UsageError(
            f"None of {', '.join(chosen)} has the option {unknown[0]!r}.", "xai methods lists the options."
        )
    if methods is None:
        default = choose_method(classifier, seed=seed)
        chosen = {default.info.name: options_of(default)} | chosen
    return chosen


def _page(comparison: MethodComparison, title: str | None) -> "Page":
    from xai.explanation.page import page_of_comparison  # what makes pages loads when one is asked for

    with language(comparison.lang):
        return page_of_comparison(comparison, comparison.classifier, title)


MethodComparison.make_page = _page
