"""Features of a ViT from a file against a ViT in PyTorch with the same weights.

    pip install -r requirements.lock -r requirements/bench.txt
    python benchmarks/vit_vs_torch.py [NAME ...]

The other ViT is written here with torch.nn, by DINOv2's names and rules. It is saved
with random weights as safetensors and read as `launch.py` does. Both see the same
random grey film, at another grid than the stored one, and where patches have 14 px at a
side that is no multiple of it: the resized image, the positions and the four maps of
the pyramid are PyTorch's on one side. The largest difference of a map, as a share of
its largest feature, is printed; one above 1e-4 ends with an error.
"""

# pyright: reportMissingImports=false

import dataclasses
import importlib.metadata
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from aals_jax.models import encoders, vit_weights
from aals_jax.models.fpn import STRIDES
from aals_jax.runtime import weights

TOLERANCE = 1e-4
MEAN, STD = (0.53, 0.5, 0.47), (0.26, 0.25, 0.24)


@dataclasses.dataclass(frozen=True)
class Case:
    """A net and the film that it sees."""

    width: int
    depth: int
    patch: int
    grid: int
    side: int  # of the film, px
    registers: int = 0
    gated: bool = False
    scaled: bool = True


CASES = {
    "rad-dino": Case(768, 12, 14, 37, 256),  # the shape of ViT-B/14 at 518 px
    "dinov2-small-registers": Case(384, 12, 14, 37, 128, registers=4),
    "dino-small": Case(384, 12, 16, 14, 160, scaled=False),  # ViT-S/16 at 224 px
    "gated": Case(384, 4, 14, 8, 160, gated=True),  # the giant's kind of block
}


class Scale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.heads = width // 64
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.heads, 64)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv)
        return self.proj(y.transpose(1, 2).flatten(2))


class Plain(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Gated(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.w12, self.w3 = nn.Linear(width, 4 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.w12(x).chunk(2, dim=2)
        return self.w3(F.silu(one) * two)


class Block(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        width = case.width
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = Attention(width)
        self.mlp = Gated(width) if case.gated else Plain(width)
        self.ls1, self.ls2 = (
            Scale(width) if case.scaled else nn.Identity() for _ in range(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Patches(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.proj = nn.Conv2d(3, case.width, case.patch, case.patch)


class ViT(nn.Module):
    def __init__(self, case: Case):
        super().__init__()
        self.case, width = case, case.width
        self.patch_embed = Patches(case)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + case.grid**2, width))
        if case.registers:
            self.register_tokens = nn.Parameter(torch.empty(1, case.registers, width))
        self.blocks = nn.Sequential(*(Block(case) for _ in range(case.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """f32[B, 3, H, W] -> f32[B, width, H/patch, W/patch]."""
        case = self.case
        x = self.patch_embed.proj(image)
        sides = x.shape[2:]
        places = self.pos_embed[:, 1:].unflatten(1, (case.grid, case.grid))
        places = F.interpolate(
            places.permute(0, 3, 1, 2),
            size=sides,
            mode="bicubic",
            align_corners=False,
            antialias=case.registers > 0,
        )
        x = (x + places).flatten(2).transpose(1, 2)
        first = self.cls_token + self.pos_embed[:, :1]
        if case.registers:
            first = torch.cat([first, self.register_tokens], dim=1)
        x = self.blocks(torch.cat([first.expand(len(x), -1, -1), x], dim=1))
        return self.norm(x)[:, first.shape[1] :].transpose(1, 2).unflatten(2, sides)


def net_of(case: Case) -> ViT:
    """Random weights, and scales about 1 where a new net has ones."""
    torch.manual_seed(0)
    net = ViT(case).eval()
    for name, weight in net.named_parameters():
        if name.endswith("gamma") or (weight.ndim == 1 and name.endswith("weight")):
            nn.init.uniform_(weight, 0.5, 1.5)
        elif name.endswith("bias"):
            nn.init.normal_(weight, 0.0, 0.1)
        elif weight.ndim == 3:
            nn.init.normal_(weight, 0.0, 0.5)
        else:
            nn.init.normal_(weight, 0.0, weight[0].numel() ** -0.5)
    return net


def levels_of(net: ViT, film: np.ndarray) -> Sequence[np.ndarray]:
    """PyTorch's maps, f32[B, H/4, W/4, C] to f32[B, H/32, W/32, C]."""

    def resized(x: torch.Tensor, side: int) -> torch.Tensor:
        return F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)

    patch, side = net.case.patch, net.case.side
    image = torch.from_numpy(film.transpose(0, 3, 1, 2)).expand(-1, 3, -1, -1)
    image = resized(image, round(side / patch) * patch)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.no_grad():
        found = net((image - mean) / std)
    maps = (resized(found, side // stride) for stride in STRIDES)
    return [m.numpy().transpose(0, 2, 3, 1) for m in maps]


def difference(case: Case, film: np.ndarray) -> float:
    net = net_of(case)
    expected = levels_of(net, film)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vit.safetensors"
        save_file(net.state_dict(), file)
        of = vit_weights.architecture(weights.shapes(file), mean=MEAN, std=STD)
        placed, _ = vit_weights.place(weights.read(file), of)
    variables = {encoders.FROZEN: {"weights": placed}}
    found = jax.jit(encoders.FrozenViT(of, parent=None).apply)(variables, film)
    return max(
        float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        for ours, theirs in zip(found, expected, strict=True)
    )


def main() -> None:
    for package in ("torch", "jax"):
        print(package, importlib.metadata.version(package))
    worst = 0.0
    for name in sys.argv[1:] or CASES:
        case = CASES[name]
        film = np.random.default_rng(0).random((1, case.side, case.side, 1), np.float32)
        found = difference(case, film)
        print(f"{name:<24} {found:.1e}", flush=True)
        worst = max(worst, found)
    if worst > TOLERANCE:
        raise SystemExit(f"the largest difference {worst:.1e} is above {TOLERANCE}")


if __name__ == "__main__":
    main()
