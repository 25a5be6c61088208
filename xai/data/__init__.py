"""Images in: files, boxes, and what is known about them. Never imports torch."""

from xai.data.boxes import check_box, parse_box, read_boxes
from xai.data.find import find_images, unique_ids, unique_stems
from xai.data.forgeries import forged_samples, shipped_photos
from xai.data.image import read_image
from xai.data.lazy import Entry, LazySamples
from xai.data.manifest import Row, load_samples, read_manifest
from xai.data.shipped import shipped_samples

__all__ = [
    "Entry",
    "LazySamples",
    "Row",
    "check_box",
    "find_images",
    "forged_samples",
    "load_samples",
    "parse_box",
    "read_boxes",
    "read_image",
    "read_manifest",
    "shipped_photos",
    "shipped_samples",
    "unique_ids",
    "unique_stems",
]
