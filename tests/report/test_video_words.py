"""What is said of a video."""

import pytest
from video_pages import video_page

from xai.report.video_words import video_verdict


@pytest.mark.parametrize(("frames", "said"), [(1, "mean of 1 frame;"), (9, "mean of 9 frames;")])
def test_the_verdict_counts_frames(frames, said):
    assert said in video_verdict(video_page(frames, 1).timeline)
