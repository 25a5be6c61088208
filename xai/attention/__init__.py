"""Seeing attention: record the fused call, rebuild rows of A and ∂A, know where patch tokens stand."""

from xai.attention.diagnose import Diagnosis, diagnose
from xai.attention.dropping import drop_patches, entry_of
from xai.attention.layout import TokenLayout, find_layout, grid_of, prefix_tokens
from xai.attention.masking import check_maskable, mask_patches
from xai.attention.probe import Probe, probe
from xai.attention.record import AttentionCall, Recording, record_attention
from xai.attention.rows import Rows, attention_rows, gradient_rows, row_chunks, score_rows
from xai.attention.scaling import scale_attention

__all__ = [
    "AttentionCall",
    "Diagnosis",
    "Probe",
    "Recording",
    "Rows",
    "TokenLayout",
    "attention_rows",
    "check_maskable",
    "diagnose",
    "drop_patches",
    "entry_of",
    "find_layout",
    "gradient_rows",
    "grid_of",
    "mask_patches",
    "prefix_tokens",
    "probe",
    "record_attention",
    "row_chunks",
    "scale_attention",
    "score_rows",
]
