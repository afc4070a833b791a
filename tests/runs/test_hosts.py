"""Two hosts of this machine train one run, and end together whatever happens.

All scenes, with others, are in benchmarks/hosts.py; here are those that a change breaks
first.
"""

import json
import os
import signal
import time

import pytest

from benchmarks import kill_test
from tests.support import processes

SETTINGS = kill_test.SETTINGS | {
    "log_every": 2,
    "pretrain.steps": 12,
    "pretrain.eval_every": 6,
    "distill.steps": 6,
    "distill.eval_every": 4,
    "evaluation.replicates": 50,
}


@pytest.fixture(scope="module")
def base(compiled_once):
    """A folder for all runs here, which share what they compile."""
    before = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled_once / "runs/.xla")
    yield compiled_once
    os.environ.pop("JAX_COMPILATION_CACHE_DIR")
    if before is not None:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = before


@pytest.fixture(scope="module")
def flags(base):
    config = processes.ROOT / "configs/clavicle.py"
    fields = SETTINGS | {"data.dir": base / "data"}
    return [f"--config={config}", *processes.as_flags(fields)]


@pytest.fixture(scope="module")
def reference(base, flags):
    """A folder with the run of two hosts that nothing disturbed."""
    folder = base / "reference"
    folder.mkdir()
    with processes.running([folder / "run"] * 2, flags) as hosts:
        assert [host.end() for host in hosts] == [0, 0], hosts[0].log
    return folder


def test_two_hosts_train_one_run_and_host_0_alone_speaks(base, flags, reference):
    rows = (reference / "run/metrics.jsonl").read_text().splitlines()
    steps = [(row["stage"], row["step"]) for row in map(json.loads, rows)]
    assert steps == [("pretrain", n) for n in range(2, 13, 2)] + [
        ("distill", n) for n in (2, 4, 6)
    ]
    result = json.loads((reference / "run/result.json").read_text())
    assert result["hardware"] == "2 x cpu"
    with processes.running([reference / "run"] * 2, flags) as hosts:
        assert [host.end() for host in hosts] == [0, 0]
    assert "2 hosts: the flags" in hosts[0].log and "done already" in hosts[0].log
    assert "INFO" not in hosts[1].log


@pytest.mark.parametrize(
    ("words", "host"), [("pre-training: 6 of", 1), ("distillation: 2 of", 0)]
)
def test_a_run_that_sigterm_stops_on_both_hosts_ends_in_the_same_bits(
    base, flags, reference, words, host
):
    folder = base / f"stopped{host}"
    folder.mkdir()
    with processes.running([folder / "run"] * 2, flags) as hosts:
        assert hosts[0].wait_for(words)
        sent = time.monotonic()
        hosts[host].signal(signal.SIGTERM)
        assert [h.end() for h in hosts] == [75, 75], hosts[0].log
        assert time.monotonic() - sent < 60
    assert not (folder / "run/result.json").exists()
    with processes.running([folder / "run"] * 2, flags) as hosts:
        assert [h.end() for h in hosts] == [0, 0], hosts[0].log
    assert not kill_test.compare(folder, reference)


HOST_1_IS_SLOW_TO_END = """
import os, runpy, sys, time
end = os._exit
os._exit = lambda code: (time.sleep(0.5 * ("--host=1" in sys.argv)), end(code))
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_private_workdirs_are_refused_on_both_hosts(base, flags):
    """Also where one takes a while to end, which must not see host 0 gone."""
    workdirs = [base / "private0", base / "private1"]
    with processes.running(workdirs, flags, wrapped=HOST_1_IS_SLOW_TO_END) as hosts:
        assert [host.end() for host in hosts] == [1, 1]
    for host in hosts:
        assert "put --workdir on a file system that all hosts share" in host.log


def test_a_host_that_fails_says_why_and_ends_the_other(base, flags):
    """One whose batches can't be split is refused after it joined."""
    more = [[], ["--config.batch.region=7"]]
    with processes.running([base / "fails"] * 2, flags, more=more) as hosts:
        assert [host.end() for host in hosts] == [1, 1]
    assert "batch.region + batch.negative=15" in hosts[1].log
    assert "host 1 failed: " in hosts[0].log


def test_a_second_run_in_a_workdir_stops_with_code_3(base, flags):
    with processes.running([base / "owned"], flags) as (first,):
        assert first.wait_for("pre-training: 2 of")
        with processes.running([base / "owned"], flags) as (second,):
            assert second.end() == 3
        assert "is in use by process" in second.log and "--wait" in second.log
        with processes.running([base / "owned"], [*flags, "--wait"]) as (third,):
            assert third.wait_for("waiting for its end")
            assert first.end() == 0
            assert third.end() == 0
        assert "done already" in third.log
