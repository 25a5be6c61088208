"""What the weights of a PEFT adapter do not say: `adapter_config.json`, or the same keys in a YAML file."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xai.core import ConfigError, ModelError
from xai.models.adapter_rules import MERGE

# a name that patterns of rank and alpha are made of: no expression of them can take long to match
_PATTERN = re.compile(r"\^?(?:[\w.*]|\\\.|\\d\+?|\[[\w-]+\]\+?|\(\w+(?:\|\w+)*\))+")
_MOST_REPEATS = 3
_LONGEST_PATTERN = 300
# LoRA that starts elsewhere than at the base's own weights changes these before training
_PLAIN_START = (True, False, None, "gaussian", "eva", "orthogonal")


class AdapterSettings(BaseModel):
    """What the weights of an adapter do not say, by the names of PEFT's `adapter_config.json`.

    Args:
        lora_alpha: α of LoRA and DoRA.
        alpha: α of LoHa and LoKr.
        r: Rank, where no factor of a LoKr shows it.
        alpha_pattern: α of modules whose names end so.
        rank_pattern: The same for the rank.
        use_rslora: Whether s is α/√r instead of α/r.
        fan_in_fan_out: Whether square weights are (in, out), as in Conv1D.
        out_proj_twice: Whether the out-projection of an adapted nn.MultiheadAttention counts its change
            twice, as PEFT up to 0.21 computes it, merged or not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lora_alpha: float | None = None
    alpha: float | None = None
    r: int | None = Field(default=None, gt=0)
    alpha_pattern: dict[str, float] = {}
    rank_pattern: dict[str, int] = {}
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    out_proj_twice: bool = True

    def scale(self, module: str, kind: str, rank: int | None) -> float:
        """The factor s of a module's adapter.

        Raises:
            ConfigError: When α, or the rank where shapes do not show it, is not known.
        """
        if kind in ("ia3", "ln_tuning"):
            return 1.0
        name = "alpha" if kind in ("loha", "lokr") else "lora_alpha"
        alpha = _matching(self.alpha_pattern, module, getattr(self, name))
        rank = rank or _matching(self.rank_pattern, module, self.r)
        if alpha is None or rank is None:
            lacks = name if alpha is None else "r"
            raise ConfigError(
                f"The checkpoint holds {kind} adapters; their {lacks} is not in the weights ({module}).",
                f"Say it in the YAML, adapter: {{{lacks}: …}}, or name the adapter_config.json that was "
                "saved with them: adapter: adapter_config.json.",
            )
        return alpha / rank**0.5 if self.use_rslora and kind in ("lora", "dora") else alpha / rank


def _matching(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    for pattern, value in patterns.items():
        repeats = pattern.count("+") + pattern.count("*")
        if len(pattern) > _LONGEST_PATTERN or repeats > _MOST_REPEATS or not _PATTERN.fullmatch(pattern):
            raise ConfigError(
                f"The pattern {pattern[:80]!r} of an adapter's rank or alpha is not read here.",
                f"Name the modules in full. {MERGE}",
            )
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def read_settings(content: Mapping[str, Any], source: str, on_base: bool) -> AdapterSettings:
    """The settings in an `adapter_config.json`.

    Args:
        content: Its keys.
        source: For messages.
        on_base: Whether the adapter goes on a base that was saved apart from it.

    Raises:
        ModelError: When it says that the adapter does more than is folded here.
    """
    kind = content.get("peft_type")
    if kind not in ("LORA", "LOHA", "LOKR", "IA3", "LN_TUNING"):
        raise ModelError(f"{source} is of an adapter that is not folded here ({str(kind)[:40]}).", MERGE)
    start = content.get("init_lora_weights")
    if on_base and start not in _PLAIN_START:
        raise ModelError(
            f"{source} says init_lora_weights: {str(start)[:40]}; such an adapter goes on a base whose "
            "weights were changed before training, not on those that lie there.",
            MERGE,
        )
    more = [key for key, value in content.items() if value and key not in _KNOWN]
    if more:
        raise ModelError(f"{source} says {', '.join(sorted(more)[:5])}, which is not folded here.", MERGE)
    said = {k: v for k, v in content.items() if k in AdapterSettings.model_fields and v is not None}
    try:
        return AdapterSettings.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{source} says a {key} that is none: {first['msg']}.", "Fetch it again.") from None


# of adapter_config.json: what is read, and what changes nothing outside of training
_KNOWN = frozenset({
    *AdapterSettings.model_fields,
    "auto_mapping", "base_model_name_or_path", "bias", "decompose_both", "decompose_factor",
    "ensure_weight_tying", "eva_config", "exclude_modules", "feedforward_modules", "inference_mode",
    "init_ia3_weights", "init_lora_weights", "init_weights", "layers_pattern", "layers_to_transform",
    "lora_bias", "lora_dropout", "megatron_core", "module_dropout", "modules_to_save", "peft_type",
    "peft_version", "qalora_group_size", "rank_dropout", "rank_dropout_scale", "revision", "target_modules",
    "task_type", "use_dora", "use_effective_conv2d",
})  # fmt: skip
