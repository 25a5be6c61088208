"""A vision transformer written in the open, with relevance handed back contribution by contribution.

Nothing here uses autograd: each backward step builds the matrix of contributions of inputs to outputs and
shares out relevance in double precision, one image at a time. Two sets of rules: AttnLRP's (with CP-LRP) and
those of transformer attribution.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

NAMES = {  # ours → theirs
    "vit": {
        "patches": "embeddings.patch_embeddings.projection",
        "blocks": "layers",
        "q": "attention.q_proj",
        "k": "attention.k_proj",
        "v": "attention.v_proj",
        "o": "attention.o_proj",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "last": "layernorm",
    },
    "clip": {
        "patches": "embeddings.patch_embedding",
        "blocks": "encoder.layers",
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "o": "self_attn.out_proj",
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "last": "post_layernorm",
    },
}


@dataclass
class Rules:
    """`positive`: transformer attribution's; else AttnLRP's, with γ and CP-LRP as asked."""

    positive: bool = False
    constant_attention: bool = False
    gamma: float = 0.0
    gamma_attention: float = 0.0
    gamma_embedding: float = 0.0

    def linear(self, x: Tensor, layer: nn.Module, r: Tensor, gamma: float) -> Tensor:
        weight, bias = layer.weight.double().flatten(1), layer.bias
        bias = torch.zeros(len(weight), dtype=torch.float64) if bias is None else bias.double()
        parts = torch.einsum("nj,kj->njk", x, weight)
        z = parts.sum(1) + bias
        if self.positive:
            parts = parts.clamp(min=0)
            return torch.einsum("njk,nk->nj", parts, r / parts.sum(1))
        raised = parts * (1 + gamma * (parts * z[:, None] > 0))
        from_bias = bias * (1 + gamma * (bias * z > 0))
        return torch.einsum("njk,nk->nj", raised, r / (raised.sum(1) + from_bias))

    def norm(self, x: Tensor, layer: nn.LayerNorm, r: Tensor) -> Tensor:
        if self.positive:
            return r
        width = x.shape[-1]
        deviation = (x.var(-1, unbiased=False) + layer.eps).sqrt()
        centring = torch.eye(width, dtype=torch.float64) - 1 / width
        parts = torch.einsum("nj,jk,k,n->njk", x, centring, layer.weight.double(), 1 / deviation)
        return torch.einsum("njk,nk->nj", parts, r / (parts.sum(1) + layer.bias.double()))

    def add(self, a: Tensor, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        of_a, of_b = a / (a + b) * r, b / (a + b) * r
        if not self.positive:
            return of_a, of_b
        all_a, all_b = of_a.sum(), of_b.sum()
        bulk = all_a.abs() + all_b.abs()
        return of_a * all_a.abs() / bulk * r.sum() / all_a, of_b * all_b.abs() / bulk * r.sum() / all_b

    def attention(self, q, k, v, a, o, scale, r) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """To Q, K, V and A, all heads first: (H, N, d) and (H, N, M)."""
        parts = torch.einsum("hij,hjp->hijp", a, v)
        half = 1.0 if self.constant_attention else 0.5
        shares = half * torch.einsum("hijp,hip->hijp", parts, r / o)
        to_v = shares.sum(1)
        to_a = shares.sum(3)
        if self.constant_attention:
            return torch.zeros_like(q), torch.zeros_like(k), to_v, to_a
        scores = torch.einsum("hid,hjd->hij", q, k) * scale
        to_scores = to_a if self.positive else scores * (to_a - a * to_a.sum(-1, keepdim=True))
        products = torch.einsum("hid,hjd,hij->hijd", q, k, 0.5 * scale * to_scores / scores)
        return products.sum(2), products.sum(1), to_v, to_a


def _get(module: nn.Module, path: str) -> nn.Module:
    for part in path.split("."):
        module = getattr(module, part)
    return module


@dataclass
class Open:
    """The transformer of `tower` (a transformers vision model), with the given rules."""

    tower: nn.Module
    style: str
    rules: Rules
    heads: int
    steps: list[dict] = field(default_factory=list)

    def part(self, name: str, of: nn.Module | None = None) -> nn.Module:
        return _get(self.tower if of is None else of, NAMES[self.style][name])

    def norm(self, x: Tensor, layer: nn.LayerNorm) -> Tensor:
        deviation = (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
        return (x - x.mean(-1, keepdim=True)) / deviation * layer.weight.double() + layer.bias.double()

    def lin(self, x: Tensor, layer: nn.Module) -> Tensor:
        out = x @ layer.weight.double().flatten(1).T
        return out if layer.bias is None else out + layer.bias.double()

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def merge(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).flatten(1)

    def act(self, x: Tensor) -> Tensor:
        if self.style == "clip":
            return x * torch.sigmoid(1.702 * x)
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))

    def embed(self, image: Tensor) -> Tensor:
        """(3, H, W) → (N, D); keeps the pixels of each patch, (patches, 3·P·P)."""
        conv = self.part("patches")
        size = conv.kernel_size[0]
        cut = image.double().unfold(1, size, size).unfold(2, size, size)
        self.pixels = cut.permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
        self.patches = self.lin(self.pixels, conv)
        embeddings = self.tower.embeddings
        cls = embeddings.cls_token[0, 0] if self.style == "vit" else embeddings.class_embedding
        position = (
            embeddings.position_embeddings[0] if self.style == "vit" else embeddings.position_embedding.weight
        )
        self.x0 = torch.cat([cls.double()[None], self.patches]) + position.double()
        return self.norm(self.x0, self.tower.pre_layrnorm) if self.style == "clip" else self.x0

    def forward(self, image: Tensor) -> Tensor:
        x = self.embed(image)
        for block in self.part("blocks"):
            s = {"block": block, "x": x}
            s["n1"] = self.norm(x, self.part("norm1", block))
            s["q"], s["k"], s["v"] = (self.split(self.lin(s["n1"], self.part(n, block))) for n in "qkv")
            s["scale"] = s["q"].shape[-1] ** -0.5
            s["a"] = (s["q"] @ s["k"].transpose(1, 2) * s["scale"]).softmax(-1)
            s["oh"] = s["a"] @ s["v"]
            s["o"] = self.merge(s["oh"])
            s["attended"] = self.lin(s["o"], self.part("o", block))
            s["y"] = x + s["attended"]
            s["n2"] = self.norm(s["y"], self.part("norm2", block))
            s["h"] = self.lin(s["n2"], block.mlp.fc1)
            s["g"] = self.act(s["h"])
            s["mlp"] = self.lin(s["g"], block.mlp.fc2)
            x = s["y"] + s["mlp"]
            self.steps.append(s)
        self.top = x
        return x

    def backward(self, r: Tensor) -> Tensor:
        """Relevance of `top` handed down to the embeddings' sum x0; `of_attention` holds R_A by layer."""
        rules = self.rules
        self.of_attention: list[Tensor] = []
        for s in reversed(self.steps):
            block = s["block"]
            to_y, to_mlp = rules.add(s["y"], s["mlp"], r)
            to_g = rules.linear(s["g"], block.mlp.fc2, to_mlp, rules.gamma)
            to_n2 = rules.linear(s["n2"], block.mlp.fc1, to_g, rules.gamma)
            r = to_y + rules.norm(s["y"], self.part("norm2", block), to_n2)
            to_x, to_attended = rules.add(s["x"], s["attended"], r)
            to_o = rules.linear(s["o"], self.part("o", block), to_attended, rules.gamma_attention)
            *to_qkv, to_a = rules.attention(
                s["q"], s["k"], s["v"], s["a"], s["oh"], s["scale"], self.split(to_o)
            )
            self.of_attention.insert(0, to_a)
            to_n1 = sum(
                rules.linear(s["n1"], self.part(n, block), self.merge(t), rules.gamma_attention)
                for n, t in zip("qkv", to_qkv, strict=True)
            )
            r = to_x + rules.norm(s["x"], self.part("norm1", block), to_n1)
        return rules.norm(self.x0, self.tower.pre_layrnorm, r) if self.style == "clip" else r

    def to_patches(self, r: Tensor) -> Tensor:
        """Relevance at the patch embedding's output, (patches,)."""
        return (r[1:] * self.patches / self.x0[1:]).sum(1)

    def to_pixels(self, r: Tensor) -> Tensor:
        """Relevance of the pixels, summed over patches, (patches,)."""
        at_patches = r[1:] * self.patches / self.x0[1:]
        return self.rules.linear(
            self.pixels, self.part("patches"), at_patches, self.rules.gamma_embedding
        ).sum(1)


def read_out(
    tower: nn.Module,
    head: nn.Module,
    style: str,
    pooled: str,
    image: Tensor,
    target: int,
    rules: Rules,
    *,
    projection: nn.Module | None = None,
    power: float | None = None,
    least: float = 0.0,
) -> tuple[Open, Tensor]:
    """Run and hand relevance down to x0, from class token or mean of patches (`pooled`: cls, mean).

    Before the head the feature may be projected, then divided by its p-norm (p = `power`, at least `least`):
    each entry of what is divided contributes to its own quotient alone, so relevance passes as it is.
    """
    run = Open(tower, style, rules, heads=tower.config.num_attention_heads)
    top = run.forward(image)
    last = run.part("last")
    if pooled == "cls":  # normalise, then the class token
        normed = run.norm(top, last)
        feature = normed[:1]
    else:  # CLIPForImageClassification: mean of the patches, no norm
        feature = top[1:].mean(0, keepdim=True)
    projected = feature if projection is None else run.lin(feature, projection)
    length = 1.0
    if power is not None:
        length = max(float((projected.detach().abs() ** power).sum() ** (1 / power)), least)
    logits = run.lin(projected / length, head)
    start = torch.zeros_like(logits)
    start[0, target] = 1.0 if rules.positive else logits[0, target]
    run.logits = logits[0]
    to_feature = rules.linear(projected / length, head, start, rules.gamma)
    if projection is not None:
        to_feature = rules.linear(feature, projection, to_feature, rules.gamma)
    r = torch.zeros_like(top)
    if pooled == "cls":
        r[:1] = to_feature
        r = rules.norm(top, last, r)
    else:
        r[1:] = top[1:] / top[1:].sum(0) * to_feature
    return run, run.backward(r)
