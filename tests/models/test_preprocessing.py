"""Pixels equal those of transformers' own processors; the geometry says where they came from."""

from importlib.util import find_spec

import numpy as np
import pytest
import tiny_models as tiny
import torch
import transformers as hf
from PIL import Image

import xai
from xai.core import DataError, ModelError
from xai.models import Preprocessing
from xai.models.measured import Measured, UnmeasurableError, measure
from xai.models.processor import _steps, read_preprocessing

SIZES = {
    "wide": (151, 64),
    "tall": (50, 133),
    "square": (48, 48),
    "smaller than the crop": (20, 9),
    "one side smaller": (90, 23),
    "one pixel": (1, 1),
    "large": (1201, 803),
}
CROP = {"crop_size": {"height": 32, "width": 32}}
CUT = {"height": 40, "width": 33}
PROCESSORS = {
    "clip": lambda: hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, **CROP),
    "clip, larger than the crop": lambda: hf.CLIPImageProcessorPil(size={"shortest_edge": 37}, **CROP),
    "clip, odd crop": lambda: hf.CLIPImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 33, "width": 24}
    ),
    "clip, crop only": lambda: hf.CLIPImageProcessorPil(do_resize=False, **CROP),
    "vit": lambda: hf.ViTImageProcessorPil(size={"height": 32, "width": 24}),
    "vit, lanczos": lambda: hf.ViTImageProcessorPil(size={"height": 32, "width": 32}, resample=1),
    "siglip": lambda: hf.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    "dinov2": lambda: hf.BitImageProcessorPil(size={"shortest_edge": 36}, **CROP),
    "convnext, cut below 384": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.8),
    "convnext, whole from 384": lambda: hf.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "levit": lambda: hf.LevitImageProcessorPil(size={"shortest_edge": 30}, **CROP),
    "levit, both sides": lambda: hf.LevitImageProcessorPil(size={"height": 40, "width": 30}, **CROP),
    "poolformer": lambda: hf.PoolFormerImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.7, **CROP),
    "poolformer, square": lambda: hf.PoolFormerImageProcessorPil(size={"height": 32, "width": 32}, **CROP),
    "poolformer, not square": lambda: hf.PoolFormerImageProcessorPil(
        size={"height": 40, "width": 32}, **CROP
    ),
    "efficientnet": lambda: hf.EfficientNetImageProcessorPil(
        size={"height": 32, "width": 40}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
    ),
    "efficientnet, offset": lambda: hf.EfficientNetImageProcessorPil(
        size={"height": 32, "width": 32}, rescale_offset=True, rescale_factor=1 / 127.5, include_top=False
    ),
    "efficientnet, only the top": lambda: hf.EfficientNetImageProcessorPil(
        size={"height": 32, "width": 32}, do_normalize=False, image_std=[0.2, 0.3, 0.4]
    ),
    "mobilevit": lambda: hf.MobileViTImageProcessorPil(size={"shortest_edge": 36}, **CROP),
    "mobilevit, rgb": lambda: hf.MobileViTImageProcessorPil(
        size={"shortest_edge": 36}, do_flip_channel_order=False, do_normalize=True, **CROP
    ),
    "perceiver": lambda: hf.PerceiverImageProcessorPil(size={"height": 32, "width": 24}, crop_size=CUT),
    "perceiver, not cut": lambda: hf.PerceiverImageProcessorPil(size=32, do_center_crop=False),
    "textnet": lambda: hf.TextNetImageProcessorPil(size={"shortest_edge": 40}),
    "textnet, cropped": lambda: hf.TextNetImageProcessorPil(
        size={"shortest_edge": 40}, size_divisor=16, do_center_crop=True, **CROP
    ),
    "one mean for all": lambda: hf.ViTImageProcessorPil(size=32, image_mean=0.4, image_std=0.3),
    "size in a list": lambda: hf.ViTImageProcessorPil(size=[32, 24], rescale_factor=1 / 128),
    "no normalisation": lambda: hf.ViTImageProcessorPil(
        size={"height": 32, "width": 32}, do_normalize=False, do_rescale=False
    ),
}


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    channels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(channels).convert(mode)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_equals_the_processor(tmp_path, processor):
    theirs = PROCESSORS[processor]()
    theirs.save_pretrained(tmp_path)
    ours = read_preprocessing(str(tmp_path))
    for size in SIZES.values():
        image = noise(size)
        expected = torch.as_tensor(np.asarray(theirs(image, return_tensors="np")["pixel_values"]))[0]
        got = ours(image)
        assert got.dtype == torch.float32
        assert got.is_contiguous()
        torch.testing.assert_close(
            got, expected.float(), rtol=1e-6, atol=1e-5 if "efficient" in processor else 4e-6
        )


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("most", [1, 16, 100])
def test_naflex_tiles_as_its_processor_does(tmp_path, size, most):
    theirs = hf.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=most)
    theirs.save_pretrained(tmp_path)
    got = read_preprocessing(str(tmp_path), reads="patches")(noise(size))
    given = theirs(noise(size), return_tensors="pt")
    rows, cols = given["spatial_shapes"][0].tolist()
    assert got.shape == (3, 8 * rows, 8 * cols)
    tiles = got.reshape(3, rows, 8, cols, 8).permute(1, 3, 2, 4, 0).reshape(rows * cols, 192)
    torch.testing.assert_close(tiles, given["pixel_values"][0, : rows * cols], rtol=1e-6, atol=4e-6)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_images_of_other_modes(mode):
    preprocessing = Preprocessing(shortest_edge=32, crop=(32, 32))
    image = noise((40, 50), mode)
    torch.testing.assert_close(preprocessing(image), preprocessing(image.convert("RGB")))


@pytest.mark.parametrize("size", [(160, 96), (90, 200), (64, 64), (26, 14), (301, 299)])
@pytest.mark.parametrize(
    "steps",
    [
        {"shortest_edge": 64, "crop": (64, 64)},
        {"shortest_edge": 80, "crop": (48, 64)},
        {"size": (64, 48)},
        {"size": (80, 80), "crop": (64, 64)},
        {"crop": (56, 64)},
        {"cut": (0.8, 0.9), "size": (48, 64)},
        {"shortest_edge": 40, "multiple": 32},
        {"patches": (8, 60)},
    ],
    ids=str,
)
def test_geometry_finds_a_marker(size, steps):
    """A pattern is painted, prepared, and found where the geometry says that it lies."""
    preprocessing = Preprocessing(**steps, interpolation="bilinear")
    width, height = size
    # red grows with x, green with y: the colour of a pixel tells where in the original it was
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    image = Image.fromarray((np.stack([x, y, np.ones_like(x)], axis=2) * 255).round().astype(np.uint8))
    pixels = preprocessing(image).numpy()
    rows, cols = pixels.shape[1:]
    left, top, right, bottom = preprocessing.geometry(size).box
    said_x = left + (np.arange(cols) + 0.5) * (right - left) / cols
    said_y = top + (np.arange(rows) + 0.5) * (bottom - top) / rows
    # away from the border, where resampling sees less than a full neighbourhood; blue shows padding
    step_x, step_y = (right - left) / cols, (bottom - top) / rows
    margin_x, margin_y = 2 * max(step_x, 1), 2 * max(step_y, 1)
    ends = (left, top, right, bottom) if preprocessing.cut else (0, 0, width, height)
    far_x = (said_x > ends[0] + margin_x) & (said_x < ends[2] - margin_x)
    far_y = (said_y > ends[1] + margin_y) & (said_y < ends[3] - margin_y)
    seen = pixels[:, far_y][:, :, far_x]
    assert seen.size
    assert (seen[2] == 1).all()
    quantum = 1 / 255
    assert np.abs(seen[0] - said_x[far_x] / width).max() < quantum + 0.02 * step_x / width
    assert np.abs(seen[1] - (said_y[far_y] / height)[:, None]).max() < quantum + 0.02 * step_y / height


@pytest.mark.parametrize(
    ("length", "torchvision", "transformers"),
    [(39, 4, 3), (37, 2, 2), (35, 2, 1), (33, 0, 0), (32, 0, 0), (31, 0, -1), (29, -1, -2), (20, -6, -6)],
)
def test_the_odd_pixel_of_a_crop(length, torchvision, transformers):
    """Offsets of a crop of 32, as torchvision's CenterCrop and transformers' processors cut it."""
    columns = np.arange(1, length + 1, dtype=np.uint8)
    image = Image.fromarray(np.broadcast_to(columns[None, :, None], (32, length, 3)).copy())
    for as_torchvision, expected in ((True, torchvision), (False, transformers)):
        preprocessing = Preprocessing(crop=(32, 32), scale=1.0, torchvision_crop=as_torchvision)
        assert preprocessing.geometry((length, 32)).box == (expected, 0, expected + 32, 32)
        shown = preprocessing(image)[0, 0]
        where = torch.arange(32) + expected
        inside = (where >= 0) & (where < length)
        assert torch.equal(shown, torch.where(inside, where + 1.0, 0.0))


def test_padding_lies_outside_the_image():
    preprocessing = Preprocessing(crop=(32, 32))
    geometry = preprocessing.geometry((20, 9))
    assert geometry.box == (-6, -12, 26, 20)
    pixels = preprocessing(Image.new("RGB", (20, 9), "white"))
    assert (pixels[:, 12:21, 6:26] == 1).all()
    assert pixels.sum() == 3 * 20 * 9


def test_map_is_laid_on_the_crop_only():
    drawn = Preprocessing(shortest_edge=32, crop=(32, 32)).geometry((80, 40)).project(np.ones((4, 4)))
    assert drawn.shape == (40, 80)
    assert np.isnan(drawn[:, :20]).all()
    assert (drawn[:, 20:60] == 1).all()
    assert np.isnan(drawn[:, 60:]).all()


def test_a_strip_that_would_fill_the_memory_is_refused():
    with pytest.raises(DataError, match=r"100000×1; resized for the model it would be 22400000×224"):
        Preprocessing(shortest_edge=224, crop=(224, 224))(Image.new("RGB", (100_000, 1)))


MEASURED = {
    "longest edge": lambda: hf.DetrImageProcessorPil(size={"shortest_edge": 40, "longest_edge": 90}),
    "sides rounded down": lambda: hf.GLPNImageProcessorPil(size_divisor=16),
    "padded": lambda: hf.ViTImageProcessorPil(do_pad=True, pad_size={"height": 256, "width": 260}),
    "thumbnail in the middle": lambda: hf.DonutImageProcessorPil(size={"height": 64, "width": 48}),
}


@pytest.mark.parametrize("name", MEASURED)
def test_a_processor_with_steps_of_its_own_is_run_and_measured(tmp_path, name):
    theirs = MEASURED[name]()
    theirs.save_pretrained(tmp_path)
    ours = read_preprocessing(str(tmp_path))
    assert isinstance(ours, Measured)
    for size in ((151, 64), (50, 133), (160, 160)):
        expected = torch.as_tensor(np.asarray(theirs(noise(size), return_tensors="np")["pixel_values"]))[0]
        torch.testing.assert_close(ours(noise(size)), expected.float(), rtol=0, atol=0)
    assert ours.describe()["backend"] == f"{type(theirs).__name__} of transformers"
    assert read_preprocessing(str(tmp_path)) == ours


@pytest.mark.parametrize("name", [*PROCESSORS, "thumbnail"])
def test_what_is_measured_is_where_the_steps_look(name):
    """Of processors whose steps are known, the two must agree to a pixel of the model's input."""
    theirs = (
        hf.DonutImageProcessorPil(size={"height": 64, "width": 64})
        if name == "thumbnail"
        else PROCESSORS[name]()
    )
    measured = measure(theirs, ((224, 224), (37, 50)))
    for size in ((151, 64), (50, 133), (1201, 803)):
        if name == "thumbnail":
            long = max(size)
            spare = (long - size[0]) / 2, (long - size[1]) / 2
            expected, step = (-spare[0], -spare[1], long - spare[0], long - spare[1]), (long / 64, long / 64)
        else:
            steps = _steps(theirs, "x")
            expected = steps.geometry(size).box
            high, wide = steps(noise(size)).shape[1:]
            step = (expected[2] - expected[0]) / wide, (expected[3] - expected[1]) / high
        got = measured.geometry(size).box
        assert np.abs(np.array(got) - expected).max() < max(*step, 1.0)


def test_what_is_not_one_upright_view_is_not_measured():
    class Turned(hf.ViTImageProcessorPil):
        def resize(self, image, size, *further, **options):
            return super().resize(image, size, *further, **options)[:, ::-1]

    class Augmenting(hf.ViTImageProcessorPil):
        def resize(self, image, size, *further, **options):
            resized = super().resize(image, size, *further, **options)
            return resized + np.random.default_rng().normal(size=resized.shape)

    with pytest.raises(UnmeasurableError, match="upright"):
        measure(Turned(size=32), ((60, 60),))
    with pytest.raises(UnmeasurableError, match="each time"):
        measure(Augmenting(size=32), ((60, 60),))
    with pytest.raises(UnmeasurableError, match="makes 3000×2900 of it"):
        measure(hf.ViTImageProcessorPil(size={"height": 2900, "width": 3000}), ((60, 60),))


@pytest.mark.parametrize("size", [(3, 9), (5, 400)])
def test_an_image_too_small_or_long_to_measure_is_refused(size):
    measured = measure(hf.GLPNImageProcessorPil(size_divisor=1), ((64, 64),))
    with pytest.raises(DataError, match=f"GLPNImageProcessorPil looks in an image of {size[0]}×{size[1]}"):
        measured.geometry(size)
    with pytest.raises(DataError, match="GLPNImageProcessorPil looks"):
        measured(noise(size))


GPT = {"clusters": [[0, 0, 0], [1, 1, 1]]}
REFUSED = {
    "colour clusters": (lambda: hf.ImageGPTImageProcessorPil(**GPT), "gives input_ids"),
    "naflex": (hf.Siglip2ImageProcessorPil, r"shape \(256, 768\), not one image"),
    "pairs": (hf.SuperGlueImageProcessorPil, "cannot prepare an image alone"),
    "no steps": (hf.Pix2StructImageProcessorPil, "cannot be read"),
    "no deviation": (lambda: hf.ViTImageProcessorPil(image_std=[0.5, 0, 0.5]), "image_std of"),
    "no such filter": (lambda: hf.ViTImageProcessorPil(resample=77), "cannot be read"),
    "one deviation of three": (lambda: hf.ViTImageProcessorPil(image_std=[0.5]), "cannot prepare an image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_processors_are_refused_by_name(tmp_path, name):
    make, said = REFUSED[name]
    processor = make()
    processor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=said) as caught:
        read_preprocessing(str(tmp_path))
    assert type(processor).__name__ in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "{", '{"image_processor_type": 3}', '{"size": "large"}', "null"])
def test_a_broken_processor_file_is_refused(tmp_path, text):
    hf.ViTConfig(**tiny.TOWER).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ModelError):
        read_preprocessing(str(tmp_path))


@pytest.mark.skipif(bool(find_spec("torchvision")), reason="torchvision is here, so that it can be used")
def test_a_processor_that_needs_torchvision_says_so(tmp_path):
    hf.DINOv3ViTConfig(**tiny.TOWER).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "DINOv3ViTImageProcessor"}')
    with pytest.raises(ModelError, match=r"torchvision[\s\S]*ViTImageProcessor, with size"):
        read_preprocessing(str(tmp_path))


@pytest.mark.parametrize("size", [40, 24])
def test_a_processor_of_another_size_is_refused_with_both_sizes(tmp_path, size):
    model = tiny.randomize(hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER)))
    sides = {"height": size, "width": size}
    classifier = xai.load(tiny.save_pretrained(tmp_path, model, size=sides, crop_size=sides))
    with pytest.raises(ModelError, match=rf"32×32 pixels .* {size}×{size}[\s\S]*preprocessor_config\.json"):
        xai.explain(noise((50, 50)), classifier)


def test_a_model_that_interpolates_its_positions_takes_another_size(tmp_path):
    model = tiny.randomize(hf.Dinov2ForImageClassification(hf.Dinov2Config(**tiny.TOWER)))
    sides = {"height": 48, "width": 48}
    classifier = xai.load(tiny.save_pretrained(tmp_path, model, size=sides, crop_size=sides))
    (found,) = xai.explain(noise((50, 50)), classifier, method="chefer")
    assert next(iter(found.maps.values())).shape == (6, 6)


def test_without_resizing_each_image_is_right_or_refused(tmp_path):
    model = tiny.randomize(hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER)))
    spec = tiny.save_pretrained(tmp_path, model, do_resize=False, do_center_crop=False)
    failures = []
    found = xai.explain([noise((32, 32)), noise((48, 40))], spec, method="chefer", failures=failures)
    assert len(found) == 1
    (failure,) = failures
    assert "32×32 pixels and does not take the 40×48" in str(failure.error)


def test_classifier_uses_its_processor(tmp_path):
    model = tiny.randomize(hf.ViTForImageClassification(hf.ViTConfig(**tiny.TOWER)))
    spec = tiny.save_pretrained(tmp_path, model, image_mean=[0.1, 0.2, 0.3], size={"shortest_edge": 40})
    classifier = xai.load(spec)
    processor = hf.CLIPImageProcessorPil.from_pretrained(tmp_path)
    image = noise((100, 61))
    expected = torch.as_tensor(np.asarray(processor(image, return_tensors="np")["pixel_values"]))[0]
    torch.testing.assert_close(classifier.preprocess(image), expected)
    assert classifier.geometry((100, 61)).size == (100, 61)
    described = classifier.describe()["preprocessing"]
    assert described["backend"] == "pil"
    assert described["resize"] == {"shortest_edge": 40}
    assert described["mean"] == [0.1, 0.2, 0.3]
