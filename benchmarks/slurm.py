"""A Slurm of this machine alone: jobs with two tasks, arrays, time limits, preemption.

    apt-get install slurm-wlm munge
    python benchmarks/slurm.py [--only WORDS] [--steps 1200] [--minutes 3] [--keep DIR]

Starts munged, slurmctld and slurmd in a folder of their own, on loopback, and ends them
again; needs root, as slurmd does. The jobs are the files of docs/slurm. Each line is a
scene; "equal" compares result.json and checkpoints, as benchmarks/kill_test.py does,
with those of a job that nothing disturbed.
"""

import argparse
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import kill_test  # noqa: E402
from tests.support import processes  # noqa: E402

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")
CONFIG = """\
ClusterName=alone
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=30
MinJobAge=3600
JobRequeue=1
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""
# One machine has one node, so that the two tasks of a job share it.
TWO_TASKS = ("--ntasks=2", "--ntasks-per-node=2")


class Cluster:
    """A Slurm that runs."""

    def __init__(self, folder: Path, environ: dict[str, str]):
        self.folder, self._environ = folder, environ

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self._environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout.strip()

    def submit(self, *arguments: str) -> str:
        """The number of a job."""
        log = f"--output={self.folder}/%j.log"
        return self.call("sbatch", "--parsable", log, *arguments)

    def state(self, job: str) -> dict[str, str]:
        text = self.call("scontrol", "show", "job", "--oneliner", job)
        words = (word.partition("=") for word in text.splitlines()[-1].split())
        return {name: value for name, sign, value in words if sign}

    def log(self, job: str) -> str:
        path = self.folder / f"{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait(self, job: str, *, words: str = "", limit_s: float = 1800) -> str:
        """Waits for the end of a job, or for words of its log; its state."""
        ends = time.monotonic() + limit_s
        while time.monotonic() < ends:
            state = self.state(job)["JobState"]
            if words and words in self.log(job):
                return state
            if state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
                return state
            time.sleep(0.5)
        raise TimeoutError(f"job {job}: {self.state(job)}\n{self.log(job)}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A Slurm in a folder, for as long as the context is open."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise SystemExit(f"{', '.join(missing)} not found: see --help")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)  # munged wants a folder that others may not write to
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(
            folder=folder,
            controller=processes.free_port(),
            daemon=processes.free_port(),
            host=os.uname().nodename,
            cores=os.cpu_count(),
        )
    )
    environ = {
        **os.environ,
        "SLURM_CONF": str(config),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
    }
    munged = [
        f"--key-file={key}",
        f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munged.pid",
        f"--log-file={folder}/munged.log",
        f"--seed-file={folder}/munged.seed",
    ]
    daemons = [
        ["munged", "--foreground", "--force", *munged],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-c", "-N", "localhost"],
    ]
    started = []
    try:
        for command in daemons:
            output = (folder / f"{command[0]}.out").open("w")
            started.append(
                subprocess.Popen(command, env=environ, stdout=output, stderr=output)
            )
            time.sleep(1)
        cluster = Cluster(folder, environ)
        ends = time.monotonic() + 60
        while "State=IDLE" not in cluster.call("scontrol", "show", "node"):
            if time.monotonic() > ends:
                raise TimeoutError(cluster.call("scontrol", "show", "node"))
            time.sleep(0.5)
        yield cluster
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


@dataclasses.dataclass
class Stage:
    """Where scenes are played."""

    base: Path
    slurm: Cluster
    flags: list[str]
    long: dict[str, int]  # steps of both stages, more than a time limit leaves
    minutes: int  # that limit

    def train(self, name: str, *more: str, options: Sequence[str] = ()) -> str:
        """The number of a job of two tasks that trains in the folder `name`."""
        workdir = f"--workdir={self.base / name / 'run'}"
        file = ("docs/slurm/train.sbatch", *self.flags, *more, workdir)
        return self.slurm.submit(*options, *TWO_TASKS, *file)

    def ended(self, job: str, name: str, reference: str) -> str:
        """Waits for a job; how it ended, and whether it did as the other one."""
        state = self.slurm.wait(job)
        again = self.slurm.state(job)["Restarts"]
        differences = kill_test.compare(self.base / name, self.base / reference)
        return f"{state}, restarts: {again}; {differences or 'equal'}"

    def undisturbed(self, name: str, *more: str) -> str:
        """A job that nothing disturbs, once for all scenes; its log."""
        job = self.train(name, *more)
        state = self.slurm.wait(job)
        assert state == "COMPLETED", self.slurm.log(job)
        return self.slurm.log(job)


def two_tasks_of_srun(stage: Stage) -> str:
    log = stage.undisturbed("two")
    return f"completed; joined by Slurm: {'2 hosts: Slurm' in log}"


def preempted(stage: Stage) -> str:
    stage.undisturbed("calm")
    job = stage.train("preempted")
    stage.slurm.wait(job, words="pre-training: 60 of")
    stage.slurm.call("scontrol", "requeue", job)
    time.sleep(2)
    return stage.ended(job, "preempted", "calm")


def time_over(stage: Stage) -> str:
    """The signal comes one to two minutes before the limit."""
    long = [f"--config.{name}.steps={steps}" for name, steps in stage.long.items()]
    stage.undisturbed("long", *long)
    job = stage.train("timed", *long, options=[f"--time={stage.minutes}"])
    return stage.ended(job, "timed", "long")


def array_of_four_trials(stage: Stage) -> str:
    sweep = ("--sweep=configs/sweeps/tiny.py:4", f"--workdir={stage.base / 'sweep'}")
    job = stage.slurm.submit("--array=0-3", "docs/slurm/array.sbatch", *sweep)
    states = {stage.slurm.wait(f"{job}_{number}") for number in range(4)}
    results = [*(stage.base / "sweep").glob("trials/*/result.json")]
    return f"{', '.join(sorted(states))}; {len(results)} results"


SCENES = (two_tasks_of_srun, preempted, time_over, array_of_four_trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="scenes with these words alone")
    parser.add_argument(
        "--steps",
        type=int,
        default=1200,
        help="of stage 1 in the scene of a time limit; fewer on a slow machine",
    )
    parser.add_argument("--minutes", type=int, default=3, help="that limit")
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args()
    base = options.keep or Path(tempfile.mkdtemp(prefix="slurm-"))
    (base / "slurm").mkdir(parents=True)
    fields = kill_test.SETTINGS | {"data.dir": base / "data"}
    flags = ["--config=configs/clavicle.py", *processes.as_flags(fields)]
    with running(base / "slurm") as slurm:
        for play in SCENES:
            name = play.__name__.replace("_", " ")
            if options.only in name:
                long = {"pretrain": options.steps, "distill": options.steps // 3}
                text = play(Stage(base, slurm, flags, long, options.minutes))
                print(f"| {name} | {text} |", flush=True)
    if not options.keep:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
