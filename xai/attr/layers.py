"""Which attention layers a map is made of."""

from collections.abc import Sequence

from xai.core import UsageError, nearest

LAYER_PRESETS: dict[str, tuple[int, ...] | None] = {
    "last_layer": (-1,),
    "last_2_layers": (-2, -1),
    "last_4_layers": (-4, -3, -2, -1),
    "spaced_layers": (-6, -4, -2),
    "all_layers": None,
}

Layers = str | int | Sequence[int]


def resolve_layers(layers: Layers, depth: int) -> list[int]:
    """Layer indices ≥ 0 in ascending order for a preset name, an index or several (negative allowed).

    Raises:
        UsageError: For an unknown preset, no layer, a repeated one, or one that the model does not have.
    """
    if isinstance(layers, str):
        if layers not in LAYER_PRESETS:
            raise UsageError(f"Unknown layer preset {layers!r}.", nearest(layers, LAYER_PRESETS))
        indices = LAYER_PRESETS[layers] or range(depth)
    else:
        indices = [layers] if isinstance(layers, int) else list(layers)
    outside = [i for i in indices if not -depth <= i < depth]
    if outside or not indices:
        raise UsageError(
            f"Layers {layers!r} were asked for, but the model has {depth} attention layers.",
            f"Valid: indices {-depth} … {depth - 1}, or a preset that needs no more than {depth} layers.",
        )
    resolved = sorted(i % depth for i in indices)
    if len(set(resolved)) < len(resolved):
        raise UsageError(f"Layers {layers!r} name a layer of this {depth}-layer model twice.")
    return resolved
