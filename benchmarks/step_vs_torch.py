"""The distillation step of the laptop recipe, here and written in PyTorch, in one run.

    pip install torch                      # beside requirements.lock
    python benchmarks/step_vs_torch.py [--rounds 7] [--steps 10] [--threads 2]
    python benchmarks/step_vs_torch.py --against REVISION    # and an older tree of ours

Same architecture, weights, batch, loss (AALS), optimiser and moving average; PyTorch in
channels-last. Each side is a process of its own, set up as its program would be. Before
anything is timed, the first steps must agree in loss, gradient norm and peak. Then the
sides take turns, and medians and ratios of wall-clock and CPU time are printed; beside
other work on the machine, only CPU time on one core (`--threads 1`) is worth reading.
"""

import argparse
import copy
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The step against PyTorch's.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10, help="a round")
    parser.add_argument("--threads", type=int, default=2, help="CPU cores for each")
    parser.add_argument("--against", help="an older revision of ours, for git")
    parser.add_argument("--side", help=argparse.SUPPRESS)  # of a child: jax or torch
    parser.add_argument("--tree", default=ROOT, help=argparse.SUPPRESS)
    return parser.parse_args()


MEMORY = "data/cxr_registry/guard/memory.py"  # older trees are without
OPTIONS = arguments()
sys.path[:0] = [str(OPTIONS.tree), str(Path(OPTIONS.tree) / "benchmarks")]
if hasattr(os, "sched_setaffinity"):  # before any library counts the cores
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: OPTIONS.threads])

if (Path(OPTIONS.tree) / MEMORY).exists():
    importlib.import_module("data.cxr_registry.guard.memory").keep()

import jax  # noqa: E402
import numpy as np  # noqa: E402
import paper_step  # noqa: E402
import startup  # noqa: E402

try:
    import torch  # pyright: ignore[reportMissingImports]
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]
except ImportError:
    sys.exit("the comparison needs PyTorch: pip install torch")

from aals_jax.method import steps  # noqa: E402
from aals_jax.models import resnet  # noqa: E402
from aals_jax.runs import stages as train  # noqa: E402
from aals_jax.runtime import devices  # noqa: E402
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
        x = (image - 0.449) / 0.226  # as models/intensity.py
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
    started = time.perf_counter()
    compiled = function.lower(state, placed).compile()
    memory: Any = compiled.memory_analysis()
    print(
        f"compiled in {time.perf_counter() - started:.1f} s, "
        f"{memory.temp_size_in_bytes / 2**20:.0f} MiB of temporary memory",
        file=sys.stderr,
    )

    def step() -> dict[str, Any]:
        nonlocal state
        state, metrics = compiled(state, placed)
        return metrics

    return step


def random_batch(config: Any) -> Any:
    """Noise of the laptop's shapes; what a step costs does not depend on the pixels."""
    counts = config.batch
    return paper_step.random_batch(
        paper_step.shapes(
            counts.region + counts.negative, counts.image_level, config.data.side
        )
    )


def make_step(side: str) -> Callable[[], dict[str, Any]]:
    config = clavicle.get_config()
    # the schedule's warm-up is not the subject: one learning rate on both sides
    config.distill.update(schedule="constant", warmup_steps=0, weight_decay=0.0)
    model = train.make_model(config, axis_name=None)
    tx = train.make_tx(config.distill)
    state = steps.init_state(model, tx, jax.random.key(0), side=config.data.side)
    batch = random_batch(config)
    if side == "jax":
        return jax_step(state, batch, config)
    torch.set_num_threads(OPTIONS.threads)
    stages, block = resnet.DEPTHS[config.model.backbone]
    assert block == "basic"
    net = Detector(stages, config.model.width, config.model.fpn_channels)
    load(net, state.student)
    return torch_step(net.to(memory_format=torch.channels_last), batch, config)


def serve(side: str) -> None:
    """A child: the numbers of its first steps, then times as it is asked for them."""
    devices.start()
    step = make_step(side)
    first = [{k: float(v) for k, v in step().items()} for _ in range(3)]
    for _ in range(9):  # until the heap has settled
        step()
    print(json.dumps(first), flush=True)
    for line in sys.stdin:
        count, metrics = int(line), {}
        clock, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            metrics = step()
        float(metrics["loss/total"])  # until the last one's numbers are on the host
        times = time.perf_counter() - clock, time.process_time() - cpu
        print(json.dumps([x / count for x in times]), flush=True)


class Side:
    """A child process and its times."""

    def __init__(self, side: str, tree: Path):
        command = [sys.executable, __file__, f"--side={side}", f"--tree={tree}"]
        self.process = subprocess.Popen(
            [*command, f"--threads={OPTIONS.threads}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": "", "JAX_PLATFORMS": "cpu"},
        )
        self.first = self._answer()
        self.times: list[tuple[float, float]] = []  # clock and CPU, s a step

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def run(self, count: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        self.times.append(self._answer())

    def medians(self) -> list[float]:
        return [statistics.median(column) for column in zip(*self.times, strict=True)]


def check_agreement(ours: Any, theirs: Any) -> None:
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        for name in b:
            print(f"step {number} {name:18} {a[name]:.6f} {b[name]:.6f}")
            if not abs(a[name] - b[name]) <= 2e-3 * abs(b[name]) + 1e-6:
                sys.exit(f"{name} differs: this is no comparison of the same step")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sides = {"here": Side("jax", ROOT), "PyTorch": Side("torch", ROOT)}
        check_agreement(sides["here"].first, sides["PyTorch"].first)
        if OPTIONS.against:
            tree = startup.unpack(OPTIONS.against, Path(folder) / "before")
            sides["before"] = Side("jax", tree)
            check_agreement(sides["before"].first, sides["PyTorch"].first)
        for _ in range(OPTIONS.rounds):
            for side in sides.values():
                side.run(OPTIONS.steps)
        for side in sides.values():
            side.process.communicate()
    report({name: side.medians() for name, side in sides.items()}, sides)


def report(medians: dict[str, list[float]], sides: dict[str, Side]) -> None:
    for name, side in sides.items():
        clock, cpu = (f"{value * 1e3:.0f}" for value in medians[name])
        rounds = " ".join(f"{x * 1e3:.0f}" for x, _ in side.times)
        print(f"{name:8} {clock} ms a step, {cpu} ms of CPU; rounds {rounds}")
    pairs = [("PyTorch", "here"), *([("here", "before")] * ("before" in sides))]
    for over, under in pairs:
        clock, cpu = (a / b for a, b in zip(medians[over], medians[under], strict=True))
        print(f"{over} / {under} {clock:.2f} by the clock, {cpu:.2f} in CPU time")
    print(
        f"{OPTIONS.threads} core(s), jax {jax.__version__}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    serve(OPTIONS.side) if OPTIONS.side else main()
