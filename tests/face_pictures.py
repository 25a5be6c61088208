"""Pictures with faces, made of a shipped photograph, to compare two face finders on."""

from PIL import Image, ImageOps

from xai.data import shipped_photos, shipped_samples
from xai.data.image import read_image


def astronaut() -> Image.Image:
    """The shipped photograph with a face."""
    return next(read_image(path) for path in shipped_photos().values() if path.stem == "astronaut")


def face_pictures() -> dict[str, Image.Image]:
    """By name: the photograph as it is, larger, mirrored, turned, cut through the face, three faces, none."""
    whole = astronaut()
    sample = next(one.image for one in shipped_samples() if one.id == "astronaut_real")
    several = Image.new("RGB", (470, 240), (90, 110, 100))
    head = whole.crop((90, 0, 250, 200))
    several.paste(head, (0, 20))
    several.paste(ImageOps.mirror(head).resize((136, 170), Image.Resampling.BICUBIC), (180, 50))
    several.paste(head.resize((120, 150), Image.Resampling.BICUBIC), (335, 10))
    return {
        "whole": whole,
        "sample": sample,
        "mirrored": ImageOps.mirror(whole),
        "larger": whole.resize((601, 601), Image.Resampling.BICUBIC),
        "turned": whole.rotate(25, Image.Resampling.BICUBIC),
        "cut": whole.crop((150, 20, 380, 300)),
        "several": several,
        "none": next(one.image for one in shipped_samples() if one.id == "cat_real"),
    }
