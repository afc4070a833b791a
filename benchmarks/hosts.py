"""Two hosts on this machine: what a run does when they start, differ, stop and fail.

    python benchmarks/hosts.py [--only WORDS] [--keep DIR]

Each line is one scene: two processes of launch.py with one CPU device each, joined over
localhost. "Equal" compares result.json (but for the commit), and every leaf of the kept
checkpoints bit for bit, with a run of two hosts that nothing disturbed.
"""

import argparse
import dataclasses
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import kill_test  # noqa: E402
from tests.support import processes  # noqa: E402

SETTINGS = kill_test.SETTINGS | {
    "pretrain.steps": 60,
    "distill.steps": 40,
    "evaluation.replicates": 2000,
}
_LAUNCH = """
import runpy, sys
from pathlib import Path
sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
{before}
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# launch.py, with a shorter limit of JAX's own
SHORT_SHUTDOWN = _LAUNCH.format(
    before="""
import functools, jax
jax.distributed.initialize = functools.partial(
    jax.distributed.initialize, shutdown_timeout_seconds=5
)
"""
)
# launch.py, whose second host fails in its thirtieth step
FAILS_ON_HOST_1 = _LAUNCH.format(
    before="""
from aals_jax.runs import history
add, steps = history.Window.add, []
def failing(self, metrics):
    steps.append(None)
    if "--host=1" in sys.argv and len(steps) == 30:
        raise RuntimeError("made to fail")
    add(self, metrics)
history.Window.add = failing
"""
)
LIMIT_S = 30.0  # for an end after a signal or a failure
AGREEMENT_LIMIT_S = 60.0  # a shared file may take half of it to be seen
SCENES: dict[str, Callable[["Stage"], str]] = {}


@dataclasses.dataclass
class Stage:
    """Where scenes are played."""

    base: Path
    flags: list[str]

    def fresh(self, name: str) -> Path:
        folder = self.base / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    @property
    def reference(self) -> Path:
        """A folder with the run that nothing disturbed, in `run`."""
        folder = self.base / "reference"
        if not (folder / "run/result.json").exists():
            self.fresh("reference")
            codes = self.finish(folder)
            assert codes == [0, 0], codes
        return folder

    def play(self, folder: Path, **options):
        """The two hosts of a run in a folder."""
        return processes.running([folder / "run"] * 2, self.flags, **options)

    def finish(self, folder: Path) -> list[int]:
        with self.play(folder) as hosts:
            return [host.end() for host in hosts]

    def judge(self, folder: Path) -> str:
        """Lets a run end, and compares it."""
        with self.play(folder) as hosts:
            codes = [host.end() for host in hosts]
            if codes != [0, 0]:
                return f"{codes}:\n{hosts[0].log}\n{hosts[1].log}"
        differences = kill_test.compare(folder, self.reference)
        return f"{differences}" if differences else "equal"


def scene(function: Callable[[Stage], str]) -> Callable[[Stage], str]:
    SCENES[function.__name__.replace("_", " ")] = function
    return function


def ends(hosts: list[processes.Process], since: float, limit_s: float = LIMIT_S) -> str:
    """The exit codes, and how long after `since` the last one came."""
    codes = [host.end(limit_s=120) for host in hosts]
    waited = time.monotonic() - since
    late = "" if waited <= limit_s else " TOO LATE"
    return f"exit codes {codes} after {waited:.0f} s{late}"


def said(host: processes.Process, *words: str) -> str:
    """The last line with any of these words."""
    found = [line for line in host.lines if any(word in line for word in words)]
    return f"; {found[-1].split('  ')[-1].strip()}" if found else "; NOTHING SAID"


@scene
def a_run_from_start_to_end(stage: Stage) -> str:
    folder = stage.reference
    rows = (folder / "run/metrics.jsonl").read_text().splitlines()
    return f"result.json, {len(rows)} rows of history"


@scene
def again_in_the_same_workdir(stage: Stage) -> str:
    with stage.play(stage.reference) as hosts:
        return ends(hosts, time.monotonic()) + said(hosts[0], "done already")


@scene
def private_workdirs(stage: Stage) -> str:
    folder, start = stage.fresh("private"), time.monotonic()
    with processes.running([folder / "a", folder / "b"], stage.flags) as hosts:
        return ends(hosts, start, AGREEMENT_LIMIT_S) + said(hosts[1], "workdir (")


@scene
def another_config(stage: Stage) -> str:
    folder, start = stage.fresh("config"), time.monotonic()
    with stage.play(folder, more=[[], ["--config.seed=1"]]) as hosts:
        return ends(hosts, start) + said(hosts[1], "config (")


@scene
def another_code(stage: Stage) -> str:
    folder, start = stage.fresh("code"), time.monotonic()
    other = folder / "other"
    for name in ("aals_jax", "configs", "data"):
        shutil.copytree(ROOT / name, other / name)
    shutil.copy(ROOT / "launch.py", other)
    with (other / "aals_jax/method/losses.py").open("a") as stream:
        stream.write("# a line more\n")
    with stage.play(folder, sources=[ROOT, other]) as hosts:
        return ends(hosts, start) + said(hosts[1], "code (")


@scene
def other_data(stage: Stage) -> str:
    """Two registries that a config can't tell apart."""
    folder = stage.fresh("data")
    more = []
    for seed in (0, 1):
        drawn = folder / f"seed{seed}"
        flags = [f"--config.phantom.seed={seed}", f"--config.data.dir={drawn}"]
        launch = [str(ROOT / "launch.py"), "--mode=build", *stage.flags, *flags]
        process = processes.Process(
            launch, cwd=folder, environ={"JAX_PLATFORMS": "cpu"}
        )
        assert process.end() == 0, process.log
        (registry,) = drawn.glob("phantom*")
        more.append([f"--config.registry={registry}", f"--config.data.dir={drawn}"])
    start = time.monotonic()
    with stage.play(folder, more=more) as hosts:
        return ends(hosts, start) + said(hosts[1], "data (", "ERROR")


def stopped(
    stage: Stage, name: str, words: str, host: int, number: signal.Signals
) -> str:
    """A signal to one host once host 0 says these words, then the rest of the run."""
    folder = stage.fresh(name)
    with stage.play(folder) as hosts:
        if not hosts[0].wait_for(words):
            return f"ended before:\n{hosts[0].log}"
        start = time.monotonic()
        hosts[host].signal(number)
        left = 1 - host if number == signal.SIGKILL else 0
        last = ("saved after", "stopped", "ERROR", "Terminating process")
        text = ends(hosts, start) + said(hosts[left], *last)
    return f"{text}; {stage.judge(folder)}"


@scene
def sigterm_in_stage_1(stage: Stage) -> str:
    return stopped(stage, "term1", "pre-training: 10 of", 1, signal.SIGTERM)


@scene
def sigint_to_host_0_in_stage_1(stage: Stage) -> str:
    return stopped(stage, "int1", "pre-training: 30 of", 0, signal.SIGINT)


@scene
def sigterm_in_validation(stage: Stage) -> str:
    return stopped(stage, "termv", "pre-training: 20 of", 0, signal.SIGTERM)


@scene
def sigterm_in_stage_2(stage: Stage) -> str:
    return stopped(stage, "term2", "distillation: 10 of", 1, signal.SIGTERM)


@scene
def sigterm_while_measuring(stage: Stage) -> str:
    return stopped(stage, "termm", "measuring: 1 of", 1, signal.SIGTERM)


@scene
def host_0_killed(stage: Stage) -> str:
    return stopped(stage, "kill0", "pre-training: 30 of", 0, signal.SIGKILL)


@scene
def host_1_killed(stage: Stage) -> str:
    return stopped(stage, "kill1", "distillation: 20 of", 1, signal.SIGKILL)


@scene
def host_1_fails(stage: Stage) -> str:
    """In its thirtieth step, when host 0 waits in a collective."""
    folder = stage.fresh("fails")
    with stage.play(folder, wrapped=FAILS_ON_HOST_1) as hosts:
        hosts[1].wait_for("made to fail")
        return ends(hosts, time.monotonic()) + said(hosts[0], "host 1 failed")


@scene
def measuring_longer_than_jax_waits_at_the_end(stage: Stage) -> str:
    """JAX's limit is set to 5 s, and measuring takes longer."""
    folder = stage.fresh("long")
    flags = ["--config.evaluation.replicates=60000"]
    with stage.play(folder, more=[flags] * 2, wrapped=SHORT_SHUTDOWN) as hosts:
        hosts[0].wait_for("measuring: 0 of")
        start = time.monotonic()
        codes = [host.end() for host in hosts]
        return f"exit codes {codes}, measured for {time.monotonic() - start:.0f} s"


@scene
def one_device_then_four_then_two_hosts_then_one(stage: Stage) -> str:
    """Stopped three times; the losses are those of one device to 1e-5."""
    folder, single = stage.fresh("walk"), stage.fresh("single")
    few = ["--config.pretrain.steps=12", "--config.pretrain.eval_every=3",
           "--config.distill.steps=4", "--config.distill.eval_every=2",
           "--config.distill.warmup_steps=1",
           "--config.log_every=1"]  # fmt: skip
    flags = [*stage.flags, *few]
    with processes.running([single / "run"], flags) as (alone,):
        assert alone.end() == 0, alone.log
    for step, count, devices in ((3, 1, 1), (6, 1, 4), (9, 2, 1)):
        workdirs = [folder / "run"] * count
        with processes.running(workdirs, flags, devices=devices) as hosts:
            hosts[0].wait_for(f"pre-training: {step} of")
            hosts[0].signal(signal.SIGTERM)
            codes = [host.end() for host in hosts]
            assert set(codes) == {75}, codes
    with processes.running([folder / "run"], flags) as (alone,):
        assert alone.end() == 0, alone.log
    losses = [
        [json.loads(line)["loss/total"] for line in path.read_text().splitlines()]
        for path in (folder / "run/metrics.jsonl", single / "run/metrics.jsonl")
    ]
    largest = np.max(np.abs(np.array(losses[0]) / np.array(losses[1]) - 1))
    return f"{len(losses[0])} losses, largest relative difference {largest:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="scenes with these words alone")
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args()
    base = options.keep or Path(tempfile.mkdtemp(prefix="hosts-"))
    settings = SETTINGS | {"data.dir": base / "data"}
    flags = [f"--config={ROOT / 'configs/clavicle.py'}", *processes.as_flags(settings)]
    stage = Stage(base, flags)
    for name, play in SCENES.items():
        if options.only in name:
            print(f"| {name} | {play(stage)} |", flush=True)
    if not options.keep:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
