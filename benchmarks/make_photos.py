"""Write the photographs that the benchmark's forgeries are made from: free ones, never used for training.

    python benchmarks/make_photos.py --photos / --out xai/data/photos

Those of the demo detector's held-out photographs (`demo_photos.py`) whose licence allows them to be passed
on in this package (public domain, CC0, CC-BY with attribution), and three CC0 ones from Debian's
libjxl-testdata that played no part in the detector at all. Each is reduced to a short side of 384 pixels, if
longer, and stored as JPEG; forging happens afterwards, so that no trace of a forgery is ever compressed.
Nothing is downloaded: the Debian packages have to be installed or unpacked below one of the roots.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.demo_photos import CATALOGUE, find, load

SHORT_SIDE = 384
QUALITY = 96  # at 93 the compression raised the demo detector's false alarms from 17 % to 26 % of the crops
PLASMA = "avatar of KDE Plasma, from CC0 photo sites, as shipped by Debian's plasma-workspace-data"
JXL = "as shipped by Debian's libjxl-testdata, originally on wesaturate.com"
JXL_FOLDER = "usr/share/libjxl-testdata/external/wesaturate/500px"


@dataclass(frozen=True)
class Source:
    """Where a shipped photograph comes from.

    Attributes:
        name: stem of the file that is written.
        photo: name in the catalogue of photographs, or a path below a root.
        credit: subject, author and origin.
        licence: licence that the photograph is passed on under.
        use: `held out` or `unseen`, as ATTRIBUTION.md explains them.
    """

    name: str
    photo: str
    credit: str
    licence: str
    use: str = "held out"


SOURCES = (
    Source(
        "astronaut",
        "scikit-image/astronaut",
        "Eileen Collins, NASA, as shipped by scikit-image",
        "public domain",
    ),
    Source(
        "rocket",
        "scikit-image/rocket",
        "Falcon 9 before the launch of DSCOVR, SpaceX, as shipped by scikit-image",
        "public domain",
    ),
    Source(
        "chelsea",
        "scikit-image/chelsea",
        "Chelsea the cat, Stefan van der Walt, as shipped by scikit-image",
        "CC0-1.0",
    ),
    Source(
        "coffee",
        "scikit-image/coffee",
        "Coffee cup, Rachel Michetti (Pikolo Espresso Bar), as shipped by scikit-image",
        "CC0-1.0",
    ),
    Source(
        "china",
        "scikit-learn/china",
        "Pagoda, danielbuechele (https://www.flickr.com/photos/danielbuechele/6061409035/), as shipped by "
        "scikit-learn; compressed again",
        "CC-BY-2.0 (https://creativecommons.org/licenses/by/2.0/)",
    ),
    Source("air_balloon", "plasma-workspace-data/Air Balloon", f"Air balloon, {PLASMA}", "CC0-1.0"),
    Source("cat", "plasma-workspace-data/Cat", f"Cat, {PLASMA}", "CC0-1.0"),
    Source("dog", "plasma-workspace-data/Dog", f"Dog, {PLASMA}", "CC0-1.0"),
    Source("owl", "plasma-workspace-data/Owl", f"Owl, {PLASMA}", "CC0-1.0"),
    Source("parrot", "plasma-workspace-data/Parrot", f"Parrot, {PLASMA}", "CC0-1.0"),
    Source("sushi", "plasma-workspace-data/Sushi", f"Sushi, {PLASMA}", "CC0-1.0"),
    Source(
        "fig",
        "lomiri-wallpapers-16.04/Picture_0B_by_freespace",
        'Fig in a bowl, © 2018 Trevor "Freespace", as shipped by Debian\'s lomiri-wallpapers-16.04; reduced '
        "and compressed again",
        "CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/)",
    ),
    Source(
        "picos_de_europa",
        "lomiri-wallpapers-16.04/picosdeeuropa_by_Aitzol_Berasategi",
        "Picos de Europa, © 2018 Aitzol Berasategi, as shipped by Debian's lomiri-wallpapers-16.04; reduced "
        "and compressed again",
        "CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/)",
    ),
    Source(
        "cliff",
        f"{JXL_FOLDER}/cvo9xd_keong_macan_srgb8.png",
        f"Cliff by the water, keong_macan, {JXL}",
        "CC0-1.0",
        "unseen",
    ),
    Source(
        "tulips",
        f"{JXL_FOLDER}/tmshre_riaphotographs_srgb8.png",
        f"Tulips, riaphotographs, {JXL}",
        "CC0-1.0",
        "unseen",
    ),
    Source(
        "blossom", f"{JXL_FOLDER}/u76c0g_bliznaca_srgb8.png", f"Blossom, bliznaca, {JXL}", "CC0-1.0", "unseen"
    ),
)


def locate(source: Source, roots: list[Path]) -> Path:
    """Path of the photograph; an error where it is not installed or was trained on."""
    listed = {photo.name: photo for photo in CATALOGUE}
    if source.use == "held out":
        if not listed[source.photo].held_out:
            raise SystemExit(f"{source.photo} was trained on")
        path = find(listed[source.photo], roots)
    else:
        path = next((root / source.photo for root in roots if (root / source.photo).is_file()), None)
    if path is None:
        raise SystemExit(f"{source.photo}: not installed below {', '.join(map(str, roots))}")
    return path


def reduced(path: Path) -> Image.Image:
    """The photograph with a short side of at most `SHORT_SIDE` pixels."""
    image = Image.fromarray(np.ascontiguousarray(load(path)))
    scale = SHORT_SIDE / min(image.size)
    if scale >= 1:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[Path("/")], help="roots of the Debian packages"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows, table, total = [], [], 0
    for source in SOURCES:
        original, file = locate(source, args.photos), args.out / f"{source.name}.jpg"
        image = reduced(original)
        image.save(file, quality=QUALITY, subsampling=0, optimize=True)
        total += file.stat().st_size
        digest = sha256(original.read_bytes()).hexdigest()
        size = f"{image.width}x{image.height}"
        rows.append((file.name, source.name, size, source.use, source.credit, source.licence, digest))
        table.append(f"| `{file.name}` | {source.credit} | {source.licence} | {source.use} |")
    with (args.out / "photos.csv").open("w", newline="", encoding="utf-8") as csv_file:
        writer = csv.writer(csv_file, lineterminator="\n")
        writer.writerow(("image", "group", "size", "use", "source", "licence", "sha256_of_original"))
        writer.writerows(rows)
    text = [
        "# Photographs",
        "",
        "Pristine photographs that `xai.data.forged_samples` cuts its crops from and forges. Each may be",
        "passed on under the licence beside it. Written by `python benchmarks/make_photos.py`: short side",
        f"{SHORT_SIDE} pixels where it was longer, JPEG of quality {QUALITY} without chroma subsampling.",
        "`photos.csv` has the same facts and the digest of each original.",
        "",
        "The demo detector was trained on none of them:",
        "",
        "- *held out*: the weights have not seen it, the choices of the training recipe have;",
        "- *unseen*: it played no part in the making of the detector.",
        "",
        "These are reduced copies, not the originals that the figures of the model card were measured on.",
        "",
        "| file | photograph | licence | demo detector |",
        "| --- | --- | --- | --- |",
        *table,
    ]
    (args.out / "ATTRIBUTION.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print(f"{len(rows)} photographs, {total / 1e6:.2f} MB in {args.out}")


if __name__ == "__main__":
    main()
