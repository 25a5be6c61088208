"""Images in: files, boxes, and what is known about them. Never imports torch."""

from xai.data.boxes import check_box, parse_box, read_boxes
from xai.data.find import find_images, unique_stems
from xai.data.image import read_image
from xai.data.shipped import shipped_samples

__all__ = [
    "check_box",
    "find_images",
    "parse_box",
    "read_boxes",
    "read_image",
    "shipped_samples",
    "unique_stems",
]
