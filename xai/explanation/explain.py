"""The library call: images in, explanations (and files) out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

import xai.report as report
from xai.attr import OPTIONS_METHOD, PatchAttribution
from xai.attr.layers import LayerFusion, presets_of
from xai.core import Explanation, UsageError
from xai.core.language import current_language, gettext, language
from xai.core.options import check_option
from xai.core.progress import counted
from xai.explanation.arguments import Wanted, boxes_for, check_arguments, face_finder
from xai.explanation.explainer import Explainer, OutOfMemoryError, name_of
from xai.explanation.explanations import Explanations
from xai.explanation.faces import FaceFinder
from xai.explanation.files import PICTURES, Panels, record_of, write_explanation
from xai.explanation.inputs import BoxOf, Failure, Found, Source, gather, in_background, read_samples
from xai.models import load
from xai.report.picture import Picture

if TYPE_CHECKING:
    from xai.explanation.evidence import FaceExaminer
    from xai.report.image_payload import FaceEvidence

MOST_TOGETHER = 20  # images whose files lie side by side where nothing else is said
MOST_REMOVED = 5  # images of which parts of faces are removed where nothing else is said: it takes its time


def explain(
    images: Source | Iterable[Source],
    model: str | nn.Module = "demo",
    *,
    method: str | type[PatchAttribution] | None = None,
    target: Wanted = None,
    out: str | Path | None = None,
    box: tuple[float, float, float, float] | None = None,
    boxes: str | Path | None = None,
    face: str | int | None = None,
    whole_image: bool = False,
    batch_size: int = 8,
    seed: int = 0,
    pictures: str = "all",
    folders: bool | None = None,
    part_removal: bool | None = None,
    failures: list[Failure] | None = None,
    progress: bool | None = None,
    lang: str | None = None,
    **options: Any,
) -> Explanations:
    """Explain images, one relevance map per class.

    Args:
        images: Paths, folders, globs, manifests, PIL images or samples, one or several. An iterable is read
            to its end before the first image is explained: give paths rather than images where there are
            many.
        model: What `xai.load` takes alone: "demo", another spec, a `Classifier`.
        method: Registry name, see `xai.list_methods()`, a preset's name, a class of your own, or
            `"package.module:Class"`, which is imported. Default: gradient-weighted attention if options of
            its are given, else the preset `faithful`.
        target: Class name, index, a contrast `"fake-real"`, a `Margin`, or several of them. Default: both
            classes of a two-class model, else the top two of each image.
        out: Folder for pictures, maps and JSON; None writes nothing.
        box: (x, y, width, height) in pixels: explain this crop of each image, drawn on the whole image.
        boxes: CSV file with one box per image, columns image,x,y,w,h.
        face: Explain faces found in each photograph, cut out upright: "all", "largest", or a number from 0,
            the largest first. Default: all, if the detector's YAML says `faces: aligned` and no box is given.
        whole_image: Look for no faces.
        batch_size: Most images at once; halved when memory runs out.
        seed: Of methods that draw random numbers.
        pictures: Which pictures are drawn: "all"; "comparison", the classes compared, or the one class that
            there is; "none". Maps and records are written anyway.
        folders: Whether each image's files lie in a folder of its own, `out/{image}`; None: from 21 on,
            and where an image has them there from an earlier run.
        part_removal: Whether the parts of a face, where its landmarks are known, are removed one by one: up
            to 181 forward passes of an image. None: if there are at most 5 images, and files are written.
        failures: Collects images that cannot be explained; without it the first one raises its error.
        progress: Whether a bar is shown; None: on a terminal and in a notebook, to who has to wait.
        lang: Language of what is written and of what a notebook shows, "en" or "zh"; None: the one of the
            surrounding `xai.language` block, which is English where there is none.
        options: The method's own, such as `layers="all_layers"`.

    Returns:
        Explanations in the order of the images, without the failed ones: a list with `to_pandas`, `to_csv`
        and `page`. They hold their images; for very many images iterate over `explain_each`.

    Raises:
        XaiError: A wrong name or option, a model that cannot be explained, a folder that cannot be written,
            and, when `failures` is None, an image that cannot be read or explained.

    Examples:
        >>> import xai
        >>> from xai.data import shipped_samples
        >>> (explanation,) = xai.explain(shipped_samples()[0].path, method="gradient_weighted_attention")
        >>> explanation.predicted
        'real'
        >>> {name: relevance.shape for name, relevance in explanation.maps.items()}
        {'real': (14, 14), 'fake': (14, 14)}
    """
    with language(lang):
        check_arguments(
            out=out,
            boxes=boxes,
            whole_image=whole_image,
            batch_size=batch_size,
            seed=seed,
            folders=folders,
            part_removal=part_removal,
            failures=failures,
        )
        explainer = Explainer(load(model), method, target, batch_size=batch_size, seed=seed, **options)
        folder = None if out is None else Path(out)
        sources, box_of = gather(images, folder), boxes_for(box, boxes)
        faces = face_finder(explainer.classifier, face, whole_image=whole_image, box_of=box_of)
        files, evidence = {}, {}
        explanations = Explanations((), explainer, files, evidence)
        table = None
        results = explain_each(
            *(explainer, sources, folder, box_of),
            faces=faces,
            pictures=pictures,
            folders=folders,
            part_removal=False if folder is None and part_removal is None else part_removal,
        )
        for result in counted(
            results, len(sources) if faces is None else None, gettext("Explaining"), progress
        ):
            if isinstance(result, Explained):
                image = result.explanation.sample.id
                files[image] = result.record.get("files", {})
                if result.evidence is not None:
                    evidence[image] = result.evidence
                if result.evidence is not None and folder is not None:
                    from xai.explanation.face_table import FaceTable  # which few calls need

                    table = table or FaceTable(seed)
                    table.add(result.explanation, result.evidence)
                explanations.append(replace(result.explanation, lang=current_language()))
            elif failures is None:
                raise result.error
            else:
                failures.append(result)
        if table is not None and folder is not None:
            table.write(folder)
    return explanations


@dataclass(frozen=True)
class Explained:
    """An explained image and what was written about it (no `files` if nothing was).

    Args:
        explanation: The maps.
        record: What the JSON file holds.
        evidence: By parts of the face, where the sample has landmarks.
    """

    explanation: Explanation
    record: dict[str, Any]
    evidence: "FaceEvidence | None" = None


def explain_each(
    explainer: Explainer,
    sources: Sequence[Found],
    out: Path | None = None,
    box_of: BoxOf | None = None,
    *,
    faces: FaceFinder | None = None,
    pictures: str = "all",
    folders: bool | None = None,
    layers_panel: bool = False,
    heads_panel: bool = False,
    part_removal: bool | None = None,
) -> Iterator[Explained | Failure]:
    """Explain images one after the other; a thread writes them while the next batch is explained.

    What was yielded is on disk as a whole, whatever happens afterwards.

    Args:
        explainer: Model, method and targets.
        sources: As `gather` lists them.
        out: Folder for pictures, maps and JSON; None writes nothing.
        box_of: Says which crop of an image to explain.
        faces: Cuts out the faces to explain.
        pictures: Which are drawn: "all", "comparison" or "none".
        folders: Whether each image's files lie in a folder of its own; None: see `explain`.
        layers_panel: Also draw one map per preset and layer (needs `out`).
        heads_panel: Also draw one map per head (needs `out`).
        part_removal: Whether the parts of a face, where its landmarks are known, are removed one by one: up
            to 181 forward passes of an image. None: if there are at most 5 images.

    Raises:
        OutputError: A file cannot be written.
        ModelError: The model cannot be explained.
        UsageError: A panel of a method that has none, or unknown pictures.
    """
    check_option("pictures", pictures, PICTURES)
    if layers_panel or heads_panel:
        require_fusion(explainer)
    many = len(sources) > MOST_TOGETHER
    together = many or bool(folders)
    samples = read_samples(sources, out, box_of, folders=together, faces=faces is not None)
    results = explainer.explain(samples if faces is None else faces(samples))
    if len(sources) == 1:
        results = _as_one_image(results, explainer.method)
    few = len(sources) <= MOST_REMOVED
    examine = face_examiner(explainer, few if part_removal is None else part_removal)
    if out is None:
        for result in results:
            if isinstance(result, Failure):
                yield result
            else:
                evidence = examine(result)
                yield Explained(result, record_of(result, explainer.seed, evidence), evidence)
        return
    alone, folders = len(sources) == 1, many or None if folders is None else folders

    def written(explanation: Explanation, panels: Panels, evidence: "FaceEvidence | None") -> Explained:
        record = write_explanation(
            *(explanation, out, explainer.seed, panels),
            alone=alone,
            pictures=pictures,
            folders=folders,
            evidence=evidence,
        )
        return Explained(explanation, record, evidence)

    def jobs() -> Iterator[Callable[[], Explained] | Failure]:
        for result in results:
            if isinstance(result, Failure):
                yield result
                continue
            try:
                panels = panels_of(explainer, result, layers=layers_panel, heads=heads_panel)
            except OutOfMemoryError as error:
                yield Failure(name_of(result.sample), error)
            else:
                yield partial(written, result, panels, examine(result))

    yield from in_background(jobs(), ahead=explainer.batch_size)


def _as_one_image(
    results: Iterator[Explanation | Failure], method: PatchAttribution
) -> Iterator[Explanation | Failure]:
    """The results, and a method that until they end, and no longer, expects no further image."""
    method.one_image = True
    try:
        yield from results
    finally:
        method.one_image = False


def face_examiner(explainer: Explainer, removal: bool) -> Callable[[Explanation], "FaceEvidence | None"]:
    """Finds the evidence by parts of the face of explanations; of those without landmarks None."""
    examiner: list[FaceExaminer] = []

    def examine(explanation: Explanation) -> "FaceEvidence | None":
        if explanation.sample.landmarks is None:
            return None
        if not examiner:
            from xai.explanation.evidence import FaceExaminer  # which few calls need

            examiner.append(FaceExaminer(explainer, removal))
        return examiner[0](explanation)

    return examine


def require_fusion(explainer: Explainer) -> LayerFusion:
    """How the method fuses maps per layer and head, which panels show.

    Raises:
        UsageError: It has no such maps.
    """
    if explainer.method.fusion is None:
        raise UsageError(
            f"{explainer.method_name} is not fused from maps per layer and head, which the panels show.",
            f"Use --method {OPTIONS_METHOD}, or leave out the panels.",
        )
    return explainer.method.fusion


def panels_of(
    explainer: Explainer, explanation: Explanation, *, layers: bool = False, heads: bool = False
) -> Panels:
    """Ask the model for what the panels show: the predicted class if it was explained, else the first map.

    Returns:
        What draws `layer_comparison` and `head_comparison`, as far as they were asked for.

    Raises:
        OutOfMemoryError: All layers of one image do not fit into memory.
        UsageError: The method has no maps per layer and head.
    """
    if not (layers or heads):
        return {}
    fusion, name = require_fusion(explainer), explanation.followed
    maps = explainer.each_layer_map(explanation, name)
    panels: dict[str, Callable[[], Picture]] = {}
    if layers:
        fused = {title: values.numpy() for title, values in fused_by_layers(maps, fusion).items()}
        by_layer = {
            title: replace(explanation, maps={name: values}, score_changes={})
            for title, values in fused.items()
        }
        panels["layer_comparison"] = partial(report.draw_layers, by_layer, name)
    if heads:
        titles = [f"layer {index}" for index in range(len(maps))]
        panels["head_comparison"] = partial(
            report.draw_heads, explanation, [one.numpy() for one in maps], titles, name
        )
    return panels


def fused_by_layers(maps: Sequence[Tensor], fusion: LayerFusion) -> dict[str, Tensor]:
    """One (rows, cols) map per preset that the model is deep enough for, then one per layer."""
    depth = len(maps)
    chosen = presets_of(depth) | {f"layer {index}": [index] for index in range(depth)}
    return {title: fusion.fuse_each([maps[i] for i in indices]) for title, indices in chosen.items()}
