"""The distillation step of the laptop recipe, here and written in PyTorch, in one run.

    pip install torch                      # beside requirements.lock
    python benchmarks/step_vs_torch.py [--rounds 7] [--steps 10] [--threads 2]

Same architecture, weights, batch, loss (AALS), optimiser and moving average; PyTorch in
channels-last. Before anything is timed, the first steps of both must agree in loss,
gradient norm and peak. Then rounds alternate; the medians and their ratio are printed.
"""

import argparse
import copy
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The step against PyTorch's.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10, help="a round")
    parser.add_argument("--threads", type=int, default=2, help="CPU cores for both")
    return parser.parse_args()


OPTIONS = arguments()
if hasattr(os, "sched_setaffinity"):  # before any library counts the cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: OPTIONS.threads])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

try:
    import torch  # pyright: ignore[reportMissingImports]
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
except ImportError:
    sys.exit("the comparison needs PyTorch: pip install torch")

from aals_jax.method import steps  # noqa: E402
from aals_jax.models import detector, resnet  # noqa: E402
from aals_jax.runs import stages as train  # noqa: E402
from configs import clavicle  # noqa: E402


class Block(nn.Module):
    """torchvision's basic block."""

    def __init__(self, inside: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.changes = inside != width or stride != 1
        if self.changes:
            self.downsample_conv = nn.Conv2d(inside, width, 1, stride, bias=False)
            self.downsample_bn = nn.BatchNorm2d(width)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.changes:
            x = self.downsample_bn(self.downsample_conv(x))
        return F.relu(x + y)


class Detector(nn.Module):
    """The detector of aals_jax.models with basic blocks."""

    def __init__(self, stages: tuple[int, ...], width: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.levels, self.inner = nn.ModuleList(), nn.ModuleList()
        inside = width
        for number, blocks in enumerate(stages):
            outside = width * 2**number
            level = []
            for i in range(blocks):
                stride = 2 if number > 0 and i == 0 else 1
                level.append(Block(inside, outside, stride))
                inside = outside
            self.levels.append(nn.Sequential(*level))
            self.inner.append(nn.Conv2d(outside, channels, 1))
        self.layer_0 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, image):
        x = (image - detector.INTENSITY_MEAN) / detector.INTENSITY_STD
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        top = None
        for inner, level in reversed(list(zip(self.inner, maps, strict=True))):
            lateral = inner(level)
            if top is not None:
                lateral = lateral + F.interpolate(top, scale_factor=2, mode="nearest")
            top = lateral
        return self.head(F.relu(self.layer_0(top)))[:, 0]


def load(net: Detector, variables: Any) -> None:
    """Flax's weights into the PyTorch net."""
    params, stats = variables["params"], variables["batch_stats"]

    def conv(module: nn.Conv2d, at: Any) -> None:
        kernel = np.array(at["kernel"]).transpose(3, 2, 0, 1)
        module.weight.data.copy_(torch.from_numpy(kernel.copy()))
        if module.bias is not None:
            module.bias.data.copy_(torch.from_numpy(np.array(at["bias"])))

    def norm(module: nn.BatchNorm2d, at: Any, statistics: Any) -> None:
        for ours, theirs in (("scale", module.weight), ("bias", module.bias)):
            theirs.data.copy_(torch.from_numpy(np.array(at[ours])))
        for ours, theirs in (
            ("mean", module.running_mean),
            ("var", module.running_var),
        ):
            theirs.data.copy_(torch.from_numpy(np.array(statistics[ours])))

    body, body_stats = params["backbone"], stats["backbone"]
    conv(net.conv1, body["conv1"])
    norm(net.bn1, body["bn1"], body_stats["bn1"])
    for number, level in enumerate(net.levels):
        for i, block in enumerate(level):
            name = f"layer{number + 1}_{i}"
            for part, module in block.named_children():
                if "conv" in part:
                    conv(module, body[name][part])
                else:
                    norm(module, body[name][part], body_stats[name][part])
        conv(net.inner[number], params["fpn"][f"inner_{number}"])
    conv(net.layer_0, params["fpn"]["layer_0"])
    conv(net.head, params["head"])


def torch_step(net: Detector, batch: Any, config: Any) -> Callable[[], dict[str, Any]]:
    """One step of stage 2 on a fixed batch, as a closure over its own state."""
    teacher = copy.deepcopy(net).eval()
    net.train()
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.Adam(
        [
            {"params": kernels, "weight_decay": config.distill.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.distill.learning_rate,
        foreach=True,
    )
    pairs = [
        (t, s)
        for t, s in zip(
            teacher.state_dict().values(), net.state_dict().values(), strict=True
        )
        if t.dtype.is_floating_point
    ]
    averages, values = [t for t, _ in pairs], [s for _, s in pairs]

    def place(x: Any) -> Any:
        """[B, H, W, 1] to [B, 1, H, W] in channels-last memory."""
        tensor = torch.from_numpy(np.array(x))
        if tensor.ndim == 4:
            tensor = tensor.permute(0, 3, 1, 2)
            return tensor.contiguous(memory_format=torch.channels_last)
        return tensor

    labelled, weak = batch.labelled, batch.weak
    image, target = place(labelled.image), place(labelled.target)
    valid, weak_valid = place(labelled.valid), place(weak.valid)
    teacher_image, student_image = place(weak.image), place(weak.student_image)
    a0, center = config.distill.max_strength, config.distill.center
    center_logit = math.log(center / (1 - center))
    clock = 0

    def image_mean(each, mask):
        return (each * mask).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)

    def step() -> dict[str, Any]:
        nonlocal clock
        with torch.no_grad():
            z = teacher(teacher_image)
            peak = z.masked_fill(weak_valid <= 0, -math.inf).amax((1, 2), keepdim=True)
            sharp = z + (a0 - 1) * torch.sigmoid(-peak) * F.relu(z - center_logit)
            soft = torch.sigmoid(sharp)
        logits = net(torch.cat([image, student_image]))
        ours, theirs = logits[: len(image)], logits[len(image) :]
        each = F.binary_cross_entropy_with_logits(ours, target, reduction="none")
        supervised = image_mean(each, valid).mean()
        kl = soft * (F.logsigmoid(sharp) - F.logsigmoid(theirs))
        kl = kl + (1 - soft) * (F.logsigmoid(-sharp) - F.logsigmoid(-theirs))
        distill = image_mean(kl, weak_valid).mean()
        total = supervised + config.distill.weight * distill
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in net.parameters() if p.grad is not None]
        )
        optimizer.step()
        decay = min(config.ema_decay, (1 + clock) / (10 + clock))
        clock += 1
        with torch.no_grad():
            torch._foreach_mul_(averages, decay)
            torch._foreach_add_(averages, values, alpha=1 - decay)
        return {
            "loss/total": total.detach(),
            "loss/distill": distill.detach(),
            "grad_norm": norm,
            "pseudo/mean_peak": torch.sigmoid(peak).mean(),
        }

    return step


def jax_step(state: Any, batch: Any, config: Any) -> Callable[[], dict[str, Any]]:
    function = jax.jit(train.make_distill(config, axis_name=None), donate_argnums=0)
    placed = jax.device_put(batch)

    def step() -> dict[str, Any]:
        nonlocal state
        state, metrics = function(state, placed)
        return metrics

    return step


def random_batch(config: Any) -> Any:
    """Noise of the laptop's shapes; what a step costs does not depend on the pixels."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import paper_step

    counts = config.batch
    return paper_step.random_batch(
        paper_step.shapes(
            counts.region + counts.negative, counts.image_level, config.data.side
        )
    )


def seconds(step: Callable[[], Any], count: int) -> float:
    """Of one step, over `count`, until the last one's numbers are on the host."""
    started = time.perf_counter()
    metrics = step()
    for _ in range(count - 1):
        metrics = step()
    float(metrics["loss/total"])
    return (time.perf_counter() - started) / count


def main() -> None:
    torch.set_num_threads(OPTIONS.threads)
    config = clavicle.get_config()
    # the schedule's warm-up is not the subject: one learning rate on both sides
    config.distill.update(schedule="constant", warmup_steps=0)
    stages, block = resnet.DEPTHS[config.model.backbone]
    assert block == "basic"
    model = train.make_model(config, axis_name=None)
    tx = train.make_tx(config.distill)
    state = steps.init_state(model, tx, jax.random.key(0), side=config.data.side)
    net = Detector(stages, config.model.width, config.model.fpn_channels)
    load(net, state.student)
    net = net.to(memory_format=torch.channels_last)
    batch = random_batch(config)
    ours, theirs = jax_step(state, batch, config), torch_step(net, batch, config)
    for number in range(3):
        a, b = ours(), theirs()
        for name in b:
            first, second = float(a[name]), float(b[name])
            print(f"step {number + 1} {name:18} {first:.6f} {second:.6f}")
            if abs(first - second) > 2e-3 * abs(second) + 1e-6:
                sys.exit(f"{name} differs: this is no comparison of the same step")
    times = {"jax": [], "torch": []}
    for _ in range(OPTIONS.rounds):
        times["jax"].append(seconds(ours, OPTIONS.steps))
        times["torch"].append(seconds(theirs, OPTIONS.steps))
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        shown = " ".join(f"{value * 1e3:.0f}" for value in found)
        print(f"{name:6} median {medians[name] * 1e3:.0f} ms a step; rounds {shown}")
    side, threads = config.data.side, OPTIONS.threads
    print(
        f"PyTorch / JAX {medians['torch'] / medians['jax']:.2f} at {side} x {side}, "
        f"{threads} core(s), jax {jax.__version__}, torch {torch.__version__}"
    )
    assert jnp.isfinite(ours()["loss/total"])


if __name__ == "__main__":
    main()
