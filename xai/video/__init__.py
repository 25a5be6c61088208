"""Videos in, frame by frame, and pictures out as a video. Needs the extra `video`; never imports torch."""

from xai.video.library import require_av
from xai.video.reading import Frame, Video
from xai.video.sampling import DEFAULT_SAMPLING, Sampling, parse_sampling
from xai.video.writing import encoder_name, write_mp4

__all__ = [
    "DEFAULT_SAMPLING",
    "Frame",
    "Sampling",
    "Video",
    "encoder_name",
    "parse_sampling",
    "require_av",
    "write_mp4",
]
