"""Seeing attention: record the fused call, rebuild rows of A and ∂A, know where patch tokens stand."""

from xai.attention.diagnose import Diagnosis, diagnose
from xai.attention.dropping import drop_patches, entry_of
from xai.attention.intercept import UnseenAttentionError
from xai.attention.layout import TokenLayout, check_grid, find_layout, grid_of, prefix_tokens
from xai.attention.masking import check_maskable, mask_patches
from xai.attention.probe import Probe, probe
from xai.attention.record import AttentionCall, Recording, record_attention
from xai.attention.repeatable import check_repeatable, may_vary, random_state
from xai.attention.rows import Rows, attention_rows, gradient_rows, row_chunks, score_rows
from xai.attention.running import (
    as_written,
    is_checkpointing,
    is_compiled,
    is_traced,
    refuse_hidden_backward,
    refuse_inference,
    told_recomputation,
    uncompiled,
)
from xai.attention.scaling import scale_attention

__all__ = [
    "AttentionCall",
    "Diagnosis",
    "Probe",
    "Recording",
    "Rows",
    "TokenLayout",
    "UnseenAttentionError",
    "as_written",
    "attention_rows",
    "check_grid",
    "check_maskable",
    "check_repeatable",
    "diagnose",
    "drop_patches",
    "entry_of",
    "find_layout",
    "gradient_rows",
    "grid_of",
    "is_checkpointing",
    "is_compiled",
    "is_traced",
    "mask_patches",
    "may_vary",
    "prefix_tokens",
    "probe",
    "random_state",
    "record_attention",
    "refuse_hidden_backward",
    "refuse_inference",
    "row_chunks",
    "scale_attention",
    "score_rows",
    "told_recomputation",
    "uncompiled",
]
