"""Maps of a survey laid over the canonical face."""

import numpy as np
import pytest
import torch

from xai.bench.run.survey_rows import FACE, in_frame, to_input


def test_the_face_frame_is_read_where_the_points_say():
    """Bilinear reading of a map that is linear in place gives the linear function at the face's places."""
    rows, cols, size = 6, 6, 9
    x = (np.arange(cols) + 0.5) / cols
    y = (np.arange(rows) + 0.5) / rows
    linear = 2 * x[None, :] - 3 * y[:, None] + 0.5
    turned = FACE @ np.array([[0.55, 0.2], [-0.2, 0.55]]) + (0.28, 0.15)
    matrices = to_input([turned])
    np.testing.assert_allclose(FACE @ matrices[0, :, :2].T + matrices[0, :, 2], turned, atol=1e-12)
    aligned, outside = in_frame(torch.tensor(linear)[None, None], matrices, size)
    u, v = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2)
    place = np.stack([u, v], -1) @ matrices[0, :, :2].T + matrices[0, :, 2]
    expected = 2 * place[..., 0] - 3 * place[..., 1] + 0.5
    between = ((place >= 0.5 / rows) & (place <= 1 - 0.5 / rows)).all(-1)
    assert between.sum() > size
    np.testing.assert_allclose(aligned[0, 0].numpy()[between], expected[between], atol=1e-6)
    beyond = ((place < 0) | (place > 1)).any(-1)
    assert (aligned[0, 0].numpy()[beyond] == 0).all()
    assert float(outside[0]) == pytest.approx(beyond.mean())
    # an aligned crop lies in the frame as it is
    (same,), _ = in_frame(torch.tensor(linear)[None, None], to_input([FACE]), rows)
    np.testing.assert_allclose(same[0].numpy(), linear, atol=1e-6)
    # and an input that is not square is turned in pixels, not in shares
    stretched = to_input([FACE * (0.5, 1)], aspect=2.0)
    np.testing.assert_allclose(stretched[0], [[0.5, 0, 0], [0, 1, 0]], atol=1e-12)
