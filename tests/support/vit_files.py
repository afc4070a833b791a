"""Files of vision transformers with random weights, in both spellings."""

import re

import numpy as np

# of DINOv2 in transformers, for what stands within a block
_WITHIN = {
    "attn.proj": "attention.output.dense",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.w12": "mlp.weights_in",
    "mlp.w3": "mlp.weights_out",
}
_OUTSIDE = {
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "register_tokens": "embeddings.register_tokens",
    "mask_token": "embeddings.mask_token",
    "norm": "layernorm",
}


def draw(
    *,
    width: int = 64,
    depth: int = 2,
    patch: int = 14,
    grid: int = 3,
    registers: int = 0,
    hidden: int = 24,
    gated: bool = False,
    scaled: bool = True,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Arrays by the names of DINO's and DINOv2's own code; see `vit.Architecture`."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, scale: float) -> None:
        arrays[name] = (scale * rng.normal(size=shape)).astype(np.float32)

    def layer(name: str, out: int, *into: int) -> None:
        normal(f"{name}.weight", out, *into, scale=float(np.prod(into)) ** -0.5)
        normal(f"{name}.bias", out, scale=0.1)

    def norm(name: str) -> None:
        drawn = rng.uniform(0.5, 1.5, width)
        arrays[f"{name}.weight"] = drawn.astype(np.float32)
        normal(f"{name}.bias", width, scale=0.1)

    layer("patch_embed.proj", width, 3, patch, patch)
    normal("cls_token", 1, 1, width, scale=0.5)
    normal("pos_embed", 1, 1 + grid**2, width, scale=0.5)
    normal("mask_token", 1, width, scale=0.5)
    if registers:
        normal("register_tokens", 1, registers, width, scale=0.5)
    for number in range(depth):
        block = f"blocks.{number}"
        norm(f"{block}.norm1")
        layer(f"{block}.attn.qkv", 3 * width, width)
        layer(f"{block}.attn.proj", width, width)
        norm(f"{block}.norm2")
        first, second = ("w12", "w3") if gated else ("fc1", "fc2")
        layer(f"{block}.mlp.{first}", hidden * (1 + gated), width)
        layer(f"{block}.mlp.{second}", width, hidden)
        for branch in (1, 2) if scaled else ():
            drawn = rng.uniform(0.2, 1, width)
            arrays[f"{block}.ls{branch}.gamma"] = drawn.astype(np.float32)
    norm("norm")
    return arrays


def as_transformers(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same weights by the names of DINOv2 in transformers."""
    found = {}
    for name, array in arrays.items():
        block = re.match(r"blocks\.(\d+)\.", name)
        spelt, table = name, _OUTSIDE
        if block:
            spelt, table = name[block.end() :], _WITHIN
        for ours, theirs in table.items():
            if spelt == ours or spelt.startswith(f"{ours}."):
                spelt = theirs + spelt[len(ours) :]
                break
        before = f"encoder.layer.{block[1]}." if block else ""
        if spelt.startswith("attn.qkv."):
            for part, third in zip(
                ("query", "key", "value"), np.split(array, 3), strict=True
            ):
                whole = f"{before}attention.attention.{part}.{spelt.split('.')[-1]}"
                found[whole] = third
        else:
            found[before + spelt] = array
    return found
