"""Pages of every kind, made of photographs and smooth random maps, without any model."""

import gzip
import json
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

import xai
from xai.report.encode import encode_grid, encode_mask, encode_order, encode_picture, encode_stack
from xai.report.image_payload import Image, MapAgreement, Removal
from xai.report.payload import Card, Fusion, Measurement, Page, PageMethod, PageMetric
from xai.stats import Summary

PHOTOS = sorted((Path(xai.__file__).parent / "data" / "photos").glob("*.jpg"))
DEMO = Path(__file__).parents[1] / "reports" / "demo" / "summary.json.gz"
GRID = 14
PRESETS = {"last_layer": [3], "last_2_layers": [2, 3], "all_layers": [0, 1, 2, 3]}


def smooth(seed: int, signed: bool = False, shape: tuple[int, ...] = ()) -> np.ndarray:
    """(…, GRID, GRID) smooth random relevance."""
    coarse = np.random.default_rng(seed).normal(size=(*shape, 4, 4))
    places = np.linspace(0, 3, GRID)
    low = np.minimum(places.astype(int), 2)
    weights = np.zeros((GRID, 4))
    weights[np.arange(GRID), low] = 1 - (places - low)
    weights[np.arange(GRID), low + 1] = places - low
    values = weights @ coarse @ weights.T
    return values if signed else values.clip(0)


def demo_summary() -> dict[str, Any]:
    """What `summary.json` of the published demo run says."""
    return json.loads(gzip.decompress(DEMO.read_bytes()))


def explanation_page(images: int = 3, names: Sequence[str] | None = None, **changes: Any) -> Page:
    """Two classes, one method, with layers and heads."""
    made = [
        _explained(place, (names or [f"photo_{i}" for i in range(images)])[place]) for place in range(images)
    ]
    return _page(
        "explanation",
        made,
        rows=[PageMethod(name="gradient_weighted_attention", method="gradient_weighted_attention")],
        classes=["real", "fake"],
        compared=("fake", "real"),
        fusion=Fusion(
            row="gradient_weighted_attention",
            layers=[2, 3],
            presets=PRESETS,
            head_fusion="mean",
            layer_fusion="mean",
            clamp="fused",
        ),
        **changes,
    )


def comparison_page(
    images: int = 2, methods: Sequence[str] = ("chefer", "legrad", "saliency"), **changes: Any
) -> Page:
    """One class, several methods."""
    made = [_compared(place, methods) for place in range(images)]
    return _page(
        "comparison", made, rows=[PageMethod(name=m, method=m) for m in methods], classes=["fake"], **changes
    )


def benchmark_page(images: int = 4, short: bool = False, **changes: Any) -> Page:
    """The published demo run's statistics beside invented images with the same rows.

    `short`: one metric of the first of its two protocols, one of maps and one check, of some rows: everything
    of which the whole page has more.
    """
    summary = demo_summary()
    if short:
        _shorten(summary)
    rows = [
        PageMethod(name=one["name"], method=one["method"], control=one["control"], options=one["options"])
        for one in summary["methods"]
    ]
    parts = [_part(one, summary) for one in summary["parts"]]
    made = [_measured(place, rows, parts) for place in range(images)]
    return _page(
        "benchmark",
        made,
        rows=rows,
        classes=["fake"],
        parts=parts,
        summary=Summary.from_dict(summary),
        shown=(images, summary["images"]),
        **changes,
    )


LEFT_OUT = {"gwa_signed_all", "attention_rollout", "legrad", "mask_gradient", "sobel"}  # of a short page


def _shorten(summary: dict[str, Any]) -> None:
    del summary["protocols"][1:]
    first = summary["protocols"][0]["name"]
    kept = {"srg": first, "pointing_game": "maps", "randomization": "checks"}
    summary["parts"] = [one for one in summary["parts"] if kept.get(one["metric"]) == one["protocol"]]
    for name in ("agreement", "answers"):
        summary[name] = {first: summary[name][first]}
    summary["stability"] = {"srg": summary["stability"]["srg"]}
    summary |= _without(summary)


def _without(content: Any) -> Any:
    """The content without the rows that are left out, and pairs with them."""
    if isinstance(content, dict):
        return {key: _without(value) for key, value in content.items() if key not in LEFT_OUT}
    if isinstance(content, list):
        return [_without(one) for one in content if not _of_one_left_out(one)]
    return content


def _of_one_left_out(one: Any) -> bool:
    return isinstance(one, dict) and any(one.get(key) in LEFT_OUT for key in ("name", "first", "second"))


def big_page(images: int = 1000, different: int = 32) -> Page:
    """A benchmark of many images and 14 rows, quickly: `different` images, again and again under new names.

    Curves are as noisy as measured ones, so that the page weighs what a real one does.
    """
    few = benchmark_page(min(images, different))
    made = [_noisy(image, place) for place, image in enumerate(few.images)]
    many = [_renamed(made[place % len(made)], place) for place in range(images)]
    return few.model_copy(update={"images": many, "shown": (images, images)})


def _noisy(image: Image, seed: int) -> Image:
    random = np.random.default_rng(seed)
    curves = {
        key: {
            row: (np.array(one) + random.normal(0, 0.2, len(one))).round(6).tolist()
            for row, one in rows.items()
        }
        for key, rows in image.curves.items()
    }
    return image.model_copy(update={"curves": curves})


def _renamed(image: Image, place: int) -> Image:
    return image.model_copy(
        update={
            "id": f"forgery_{place}",
            "name": f"forgery_{place:04d}.jpg",
            "sha256": f"{place:064x}",
            "disagreement": (place * 617 % 1000) / 1000,
        }
    )


def _page(kind: Any, images: list[Image], **fields: Any) -> Page:
    names = list(dict.fromkeys(row.method for row in fields["rows"]))
    content = {
        "kind": kind,
        "title": f"A page of kind {kind}",
        "created": "2026-01-02T03:04:05+00:00",
        "version": xai.__version__,
        "model": {"name": "demo", "fingerprint": "3f" * 32, "dtype": "float32", "device": "cpu"},
        "labels": ["real", "fake"],
        "cards": [_card(name) for name in names],
        "provenance": {"versions": {"torch": "2.13.0"}, "seed": 0},
        "shown": (len(images), len(images)),
        "images": images,
    }
    return Page(**(content | fields))


@cache
def _picture(place: int) -> tuple[str, tuple[int, int]]:
    with Pillow.open(PHOTOS[place % len(PHOTOS)]) as photo:
        return encode_picture(photo, 320), photo.size


def _image(place: int, name: str, maps: dict[str, dict[str, np.ndarray]], **fields: Any) -> Image:
    picture, (width, height) = _picture(place)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2, width // 3 : width // 2] = True
    fake = 0.2 + 0.6 * ((place * 37) % 100) / 100
    content = {
        "id": name,
        "name": f"{name}.jpg",
        "group": f"group {place}",
        "label": "fake",
        "predicted": "fake" if fake >= 0.5 else "real",
        "probabilities": {"real": 1 - fake, "fake": fake},
        "width": width,
        "height": height,
        "sha256": f"{place:064x}",
        "input_hash": f"{place:016x}",
        "caveats": ["The model is not sure: its two classes are close."] if abs(fake - 0.5) < 0.2 else [],
        "view": (0, 0, width, height),
        "seen": (left, top, left + side, top + side),
        "picture": picture,
        "mask": encode_mask(mask, (320, round(320 * height / width))) if place % 2 == 0 else None,
        "maps": {
            row: {label: encode_grid(values) for label, values in by_class.items()}
            for row, by_class in maps.items()
        },
    }
    return Image(**(content | fields))


def _explained(place: int, name: str) -> Image:
    products = {label: smooth(10 * place + i, True, (4, 3)) for i, label in enumerate(("real", "fake"))}
    maps = {label: stack[2:].mean(1).mean(0).clip(0) for label, stack in products.items()}
    return _image(
        place,
        name,
        {"gradient_weighted_attention": maps},
        products={label: encode_stack(stack) for label, stack in products.items()},
        removals=[_removal(place, "gradient_weighted_attention")],
    )


def _compared(place: int, methods: Sequence[str]) -> Image:
    maps = {name: smooth(100 * place + i, signed=name == "legrad") for i, name in enumerate(methods)}
    return _image(
        place,
        f"photo_{place}",
        {name: {"fake": values} for name, values in maps.items()},
        target="fake",
        disagreement=0.2 * place,
        agreement=_agreement(maps),
        removals=[_removal(place, name) for name in methods],
    )


def _part(one: dict[str, Any], summary: dict[str, Any]) -> PageMetric:
    protocol = next((p for p in summary["protocols"] if p["name"] == one["protocol"]), None)
    curves = list(one["curves"].values())
    return PageMetric(
        key=f"{one['metric']}|{one['protocol']}",
        metric=one["metric"],
        protocol=one["protocol"],
        fractions=curves[0]["fractions"] if curves else [],
        inserts=one["metric"] == "insertion",
        operator=protocol["operator"]["name"] if protocol else None,
        exact=protocol is not None,
        redrawn="removed patches are painted in the image's mean colour" if protocol else "",
    )


def _measured(place: int, rows: Sequence[PageMethod], parts: Sequence[PageMetric]) -> Image:
    random = np.random.default_rng(place)
    maps = {row.name: smooth(1000 * place + i) for i, row in enumerate(rows)}
    plain = {row.name: maps[row.name] for row in rows if not row.control}
    curves = {
        part.key: {
            row.name: np.linspace(3, -3 + i / 9, len(part.fractions)).tolist() for i, row in enumerate(rows)
        }
        for part in parts
        if part.fractions and part.metric in ("deletion", "insertion", "srg")
    }
    return _image(
        place,
        f"forgery_{place}",
        {name: {"fake": values} for name, values in maps.items()},
        target="fake",
        disagreement=float(random.uniform()),
        orders={
            name: encode_order(np.argsort(-values.ravel(), kind="stable")) for name, values in maps.items()
        },
        fills={"mean": "#7f7a70", "token": "#000000"},
        scores={part.key: {row.name: float(random.normal()) for row in rows} for part in parts},
        curves=curves,
        removals=[_removal(place, row.name) for row in rows if not row.control],
        agreement=_agreement(plain),
    )


def _removal(place: int, row: str) -> Removal:
    return Removal(
        row=row,
        target="fake",
        value="margin",
        operator="token",
        removed=39,
        patches=GRID * GRID,
        clean=2.5,
        top=-0.75 - place,
        random=[2.25, 2.0, 2.375],
    )


def _agreement(maps: dict[str, np.ndarray]) -> MapAgreement:
    names = list(maps)
    tau = np.eye(len(names))
    for i, j in combinations(range(len(names)), 2):
        tau[i, j] = tau[j, i] = np.corrcoef(maps[names[i]].ravel(), maps[names[j]].ravel())[0, 1]
    return MapAgreement(rows=names, spearman=[[round(float(x), 6) for x in line] for line in tau])


def _card(method: str) -> Card:
    return Card(
        method=method,
        summary="What the method does, in a sentence.",
        reference="Somebody et al. 2024 (arXiv 2403.14552)",
        class_sensitive=True,
        signed=False,
        deterministic=True,
        needs=["gradients", "attention"],
        forwards=1,
        backwards=1,
        measured=[
            Measurement(
                metric="class_sensitivity", value=0.4, images=2, meaning="0 follows the class, 1 ignores it"
            )
        ],
    )
