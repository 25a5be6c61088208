"""The images that come with the package are complete and what they say they are."""

from xai.data import shipped_samples


def test_shipped_images_have_labels_and_forged_ones_masks():
    samples = shipped_samples()
    assert len({sample.id for sample in samples}) == len(samples) >= 4
    assert {sample.label for sample in samples} == {"real", "fake"}
    for sample in samples:
        assert sample.image.mode == "RGB"
        assert (sample.mask is not None) == (sample.label == "fake")
        if sample.mask is not None:
            assert sample.mask.shape == sample.image.size[::-1]
            assert 0 < sample.mask.mean() < 0.5
