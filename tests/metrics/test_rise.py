"""The published protocols, re-derived in plain NumPy: nothing of ours but the model."""

import numpy as np
import pytest
import tiny_detector
import torch
import vit_zoo
from scipy.ndimage import gaussian_filter, zoom
from scipy.signal import correlate2d

from xai import metrics


def forward(model, images, dtype=torch.float64):
    with torch.no_grad():
        return model(torch.from_numpy(np.stack(images)).to(dtype)).double().numpy()


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def upsampled(patches, size):
    rows, cols = patches.shape
    row, col = (np.arange(n) * k // n for n, k in zip(size, (rows, cols), strict=True))
    return patches[row][:, col]


def walk(image, baseline, saliency, counts, insert=False):
    """Images along the curve; equal saliency in the order of position."""
    order = np.argsort(-saliency.ravel(), kind="stable")
    start, end = (baseline, image) if insert else (image, baseline)
    for count in counts:
        at = np.unravel_index(order[:count], saliency.shape)
        step = start.copy()
        step[:, at[0], at[1]] = end[:, at[0], at[1]]
        yield step


def rise_kernel():
    point = np.zeros((11, 11))
    point[5, 5] = 1
    return gaussian_filter(point, 5)


def rise(model, image, saliency, step, target=None):
    """(class, deletion curve, its area, insertion curve, its area) of one image."""
    units = saliency.size
    steps = (units + step - 1) // step
    counts = [min(step * i, units) for i in range(steps + 1)]
    blurred = np.stack([correlate2d(channel, rise_kernel(), mode="same") for channel in image])
    if target is None:
        target = int(forward(model, [image])[0].argmax())
    curves = []
    for baseline, insert in ((np.zeros_like(image), False), (blurred, True)):
        steps_taken = list(walk(image, baseline, saliency, counts, insert))
        curve = softmax(forward(model, steps_taken))[:, target]
        curves += [curve, (curve.sum() - curve[0] / 2 - curve[-1] / 2) / (len(curve) - 1)]
    return target, *curves


@pytest.fixture(scope="module")
def model():
    return vit_zoo.build("torch_encoder").double()


@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("rows", [1, 8])  # pixels a step, in rows
@pytest.mark.parametrize(
    ("height", "width"), [(32, 24), (36, 32)]
)  # 36 is no multiple of 8: a shorter last step
def test_rise_by_numpy(model, height, width, rows, target):
    pixels = vit_zoo.pixels(2, height, width).double()
    smooth = torch.rand(1, height, width, generator=torch.Generator().manual_seed(1)).double()
    tied = torch.rand(1, height // 8, width // 8, generator=torch.Generator().manual_seed(2)).double()
    tied[tied < 0.5] = 0
    maps = torch.cat([smooth, torch.from_numpy(upsampled(tied[0].numpy(), (height, width)))[None]])
    name = {1: "rise-224", 8: "rise"}[rows]
    deletion = metrics.deletion(model, pixels, maps, target, name)
    insertion = metrics.insertion(model, pixels, maps, target, name)
    for i in range(2):
        expected = rise(model, pixels[i].numpy(), maps[i].numpy(), rows * width, target)
        assert deletion.target[i] == insertion.target[i] == expected[0]
        np.testing.assert_allclose(deletion.values[i], expected[1], atol=1e-6, rtol=0)
        np.testing.assert_allclose(deletion.auc[i], expected[2], atol=1e-6, rtol=0)
        np.testing.assert_allclose(insertion.values[i], expected[3], atol=1e-6, rtol=0)
        np.testing.assert_allclose(insertion.auc[i], expected[4], atol=1e-6, rtol=0)
    # patch maps are spread by nearest upsampling, ties and all
    spread = metrics.deletion(model, pixels[1:], tied, target, name)
    torch.testing.assert_close(spread.values[0], deletion.values[1], atol=1e-9, rtol=0)
    assert spread.tie_fraction.item() == 1


def test_both_ends_are_the_image_and_its_baseline(model):
    pixels = vit_zoo.pixels(1).double()
    found = metrics.deletion(model, pixels, torch.rand(1, 4, 4), 0, "rise")
    ends = softmax(forward(model, [pixels[0].numpy(), np.zeros((3, 32, 32))]))[:, 0]
    np.testing.assert_allclose(found.values[0, [0, -1]], ends, atol=1e-6)
    np.testing.assert_allclose([found.clean.item(), found.baseline.item()], ends, atol=1e-6)


@pytest.fixture(scope="module")
def detector():
    """With a preprocessing, so that black and grey are known; and pixels it made of a picture."""
    detector = tiny_detector.classifier(labels=("real", "fake", "other"))
    return detector, detector.preprocess(tiny_detector.photo())


def plain(value, detector, pixels):
    """An image of one value in [0, 1], normalised."""
    steps = detector.preprocessing
    mean, std = np.asarray(steps.mean), np.asarray(steps.std)
    return np.broadcast_to(((value - mean) / std)[:, None, None], pixels.shape).astype(np.float32)


def bilinear(patches, side):
    return zoom(patches, side // len(patches), order=1, mode="nearest", grid_mode=True)


@pytest.mark.parametrize("direction", ["morf", "lerf"])
def test_chefer_by_numpy(detector, direction):
    model, pixels = detector
    patches = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(4)).double()
    saliency = bilinear(patches[0].numpy(), 32) * (1 if direction == "morf" else -1)
    image, black = pixels.numpy(), plain(0.0, model, pixels)
    for label in range(3):
        counts = [int(32 * 32 * share / 10) for share in range(10)]
        logits = forward(model, list(walk(image, black, saliency, counts)), torch.float32)
        hits = (logits.argmax(1) == label).astype(float)
        found = getattr(metrics, direction)(model, pixels[None], patches, label, "chefer")
        assert found.values[0].tolist() == hits.tolist()
        area = np.trapezoid(hits, np.asarray(counts) / 1024)
        assert found.auc.item() == pytest.approx(area)
        assert found.fractions.tolist() == pytest.approx([n / 1024 for n in counts])


def test_m4_by_numpy(detector):
    model, pixels = detector
    patches = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(5)).double()
    saliency = bilinear(patches[0].numpy(), 32)
    grey = plain(127 / 255, model, pixels)
    counts = [(2 * i * 1024 + 20) // 40 for i in range(21)]
    for name, insert in (("deletion", False), ("insertion", True)):
        steps = list(walk(pixels.numpy(), grey, saliency, counts, insert))
        logits = forward(model, steps, torch.float32)
        target = forward(model, [pixels.numpy()], torch.float32)[0].argmax()
        expected = softmax(logits)[:, target]
        found = getattr(metrics, name)(model, pixels[None], patches, None, "m4")
        np.testing.assert_allclose(found.values[0], expected, atol=2e-6)
        assert found.auc.item() == pytest.approx(expected.mean(), abs=1e-6)


def test_quantus_pixel_flipping_by_numpy(detector):
    model, pixels = detector
    saliency = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(6)).double()
    darkest = np.full(pixels.shape, pixels.numpy().min())
    steps = list(walk(pixels.numpy(), darkest, saliency[0].numpy(), range(32, 1025, 32)))
    expected = softmax(forward(model, steps, torch.float32))[:, 1]
    found = metrics.deletion(model, pixels[None], saliency, 1, "quantus-pixel-flipping")
    np.testing.assert_allclose(found.values[0], expected, atol=2e-6)
    assert found.auc.item() == pytest.approx(np.trapezoid(expected), abs=1e-5)
