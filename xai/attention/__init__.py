"""Seeing attention: record the fused call, rebuild rows of A and ∂A, know where patch tokens stand."""

from xai.attention.crops import Crops, five_crops
from xai.attention.diagnose import Diagnosis, diagnose
from xai.attention.intercept import UnseenAttentionError
from xai.attention.last_layer import ReadoutLayer, readout_layer, readout_only
from xai.attention.mapping import map_attention
from xai.attention.masking import check_maskable, drop_patches, entry_of, mask_patches, scale_attention
from xai.attention.probe import Probe, check_repeatable, may_vary, probe, random_state
from xai.attention.record import (
    AttentionCall,
    Recording,
    Rows,
    attention_rows,
    gradient_rows,
    record_attention,
    row_chunks,
    score_rows,
)
from xai.attention.regions import (
    TokenLayout,
    check_grid,
    crops_of,
    cut_inputs,
    default_grid,
    evaluation_mode,
    find_grid,
    find_layout,
    grid_of,
    prefix_tokens,
)
from xai.attention.running import (
    as_written,
    checkpointing_as_model_error,
    frozen,
    is_checkpointing,
    is_compiled,
    is_traced,
    modules_of,
    refuse_hidden_backward,
    refuse_inference,
    uncompiled,
)
from xai.attention.token_norms import last_token_norms
from xai.attention.windows import MappedLayer, MappedProbe

__all__ = [
    "AttentionCall",
    "Crops",
    "Diagnosis",
    "MappedLayer",
    "MappedProbe",
    "Probe",
    "ReadoutLayer",
    "Recording",
    "Rows",
    "TokenLayout",
    "UnseenAttentionError",
    "as_written",
    "attention_rows",
    "check_grid",
    "check_maskable",
    "check_repeatable",
    "checkpointing_as_model_error",
    "crops_of",
    "cut_inputs",
    "default_grid",
    "diagnose",
    "drop_patches",
    "entry_of",
    "evaluation_mode",
    "find_grid",
    "find_layout",
    "five_crops",
    "frozen",
    "gradient_rows",
    "grid_of",
    "is_checkpointing",
    "is_compiled",
    "is_traced",
    "last_token_norms",
    "map_attention",
    "mask_patches",
    "may_vary",
    "modules_of",
    "prefix_tokens",
    "probe",
    "random_state",
    "readout_layer",
    "readout_only",
    "record_attention",
    "refuse_hidden_backward",
    "refuse_inference",
    "row_chunks",
    "scale_attention",
    "score_rows",
    "uncompiled",
]
