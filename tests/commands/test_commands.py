"""Laws of the command line: each mode answers for its own flags, and in one line."""

import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aals_jax import types
from aals_jax.commands import command_line
from aals_jax.commands.command_line import MODES, UsageError
from aals_jax.metrics import definitions, matching
from data.cxr_registry.labels import report_text
from data.cxr_registry.tables import records
from tests.support.command_line import launch
from tests.support.processes import Process

pytestmark = pytest.mark.filterwarnings(
    "ignore:the load_module:DeprecationWarning"  # ml_collections' way to load a config
)
ROOT = Path(__file__).parents[2]
CLAVICLE = str(ROOT / "configs" / "clavicle.py")
# Flags that a mode's help must show; none of them is in the other list.
FLAGS = {
    "run": ("config", "workdir", "coordinator", "num_hosts", "host"),
    "build": ("config",),
    "evaluate": ("workdir", "model", "checkpoint", "split", "compare", "data_dir"),
    "score": ("images", "lesions", "detections", "hit_rule", "replicates", "out"),
    "power": ("design", "expected", "power", "readers", "out"),
    "audit": ("registry", "findings", "allow", "reports", "timeout_s", "out"),
    "sweep": ("sweep", "workdir", "list", "index", "cpus_per_trial", "retries"),
    "study": ("sweep", "results", "out", "workdir"),
    "plan": ("config", "topology", "topologies", "largest", "timed", "out", "cache"),
    "export": ("workdir", "model", "data_dir", "out", "license"),
    "predict": (
        *("model", "input", "point", "allow", "out", "sr", "deterministic"),
        *("dicomweb", "study", "since", "watch"),
    ),
    "worklist": ("workdir", "workdirs", "count", "model", "data_dir", "out"),
}
SHARED = {"mode", "traceback", "verbosity", "wait", "help"}


@pytest.fixture
def parse(monkeypatch):
    """Parses a command line as launch.py does; returns the mode's flags by name."""

    def parsed(*arguments: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
        command = command_line.load(command_line.mode_of(arguments)).COMMAND
        fresh = command.values
        for name in [name for name in fresh if name.startswith("config.")]:
            delattr(fresh, name)  # fields that an earlier line of these tests set
        fresh.unparse_flags()
        for name in fresh:
            fresh[name].unparse()
        command_line.parse(command)
        return {name: fresh[name].value for name in fresh}

    return parsed


def fault(parse, *arguments: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def shown_flags(help: str) -> set[str]:
    return set(re.findall(r"^  --(?:\[no\])?(\w+)", help, re.MULTILINE))


@pytest.mark.parametrize("mode", MODES)
def test_the_help_of_a_mode_shows_its_flags_and_no_others(mode):
    shown = launch(f"--mode={mode}", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    command = command_line.load(mode).COMMAND
    flags = shown_flags(shown.stdout)
    assert flags == {name for name in command.values if "." not in name}
    assert flags >= {*FLAGS[mode], *SHARED}
    assert flags - SHARED == {n for group in command.groups for n in group.described}


@pytest.mark.parametrize("mode", MODES)
def test_the_help_begins_with_an_example_that_parses(mode, parse, monkeypatch):
    monkeypatch.chdir(ROOT)
    lines = command_line.load(mode).COMMAND.help().splitlines()
    first = next(line for line in lines if "python" in line)
    assert lines.index(first) <= 3
    examples = command_line.load(mode).COMMAND.example.replace("\\\n", "")
    for example in examples.splitlines():
        program, *arguments = shlex.split(example)[1:]
        assert program == "launch.py"
        assert parse(*arguments)["mode"] == mode


@pytest.mark.parametrize("mode", MODES)
def test_every_flag_is_explained_by_a_sentence(mode):
    command = command_line.load(mode).COMMAND
    for group in command.groups:
        for name, (_, help) in group.described.items():
            assert re.fullmatch(r"[A-Zc].{15,}\.", help, re.DOTALL), name
            assert len(help.split()) >= 4, name
    assert max(map(len, command.help().splitlines())) <= 88


def test_the_help_alone_explains_the_modes_and_shows_the_flags_of_a_run():
    shown = launch("--help").stdout
    assert shown_flags(shown) == {*FLAGS["run"], *SHARED}
    for mode in MODES:
        summary = command_line.load(mode).COMMAND.summary
        assert re.search(rf"^  {mode} +{re.escape(summary)}$", shown, re.MULTILINE)


def test_help_and_errors_import_no_more_than_the_mode():
    """Neither the other modes nor anything that takes a second to import."""
    code = """
import sys
from aals_jax.commands import command_line
sys.argv = ["launch.py", "--mode=score", "--help"]
command_line.main()
heavy = {"jax", "numpy", "scipy", "ml_collections", "matplotlib", "orbax"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
modes = {n.split(".")[2] for n in sys.modules if n.startswith("aals_jax.commands.")}
assert modes == {"command_line", "score"}, modes
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("error, code", [("Stopped", 75), ("OSError", 1)])
def test_an_end_in_the_midst_of_decoding_has_its_own_code(error, code):
    """Python's own end aborts where a thread is in OpenCV's code."""
    script = f"""
import sys, threading, time
import cv2
import numpy as np
from aals_jax.commands import command_line
from aals_jax.runtime.stopping import Stopped
module = command_line.load("evaluate")
image = np.zeros((256, 256), np.float32)
def decode():
    while True:
        cv2.GaussianBlur(image, (0, 0), 3)
def call():
    module.COMMAND.start_devices()
    for _ in range(4):
        threading.Thread(target=decode, daemon=True).start()
    time.sleep(0.3)
    raise {error}("enough")
module.call = call
sys.argv = ["launch.py", "--mode=evaluate", "--workdir=nowhere"]
command_line.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stderr.endswith("enough\n"), ended.stderr


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_after_the_result_leaves_code_0(number):
    """Also one that comes in the interpreter's end, when handlers are gone."""
    script = f"""
import os, signal
from aals_jax.runtime import stopping
class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.{number})
late = Late()
stopping.start()
stopping.leave()
os.kill(os.getpid(), signal.{number})
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60)
    assert ended.returncode == 0


def test_a_build_that_is_stopped_ends_with_a_line_and_code_75(tmp_path):
    command = [
        *("--mode=build", f"--config={ROOT / 'configs/clavicle.py'}"),
        *("--config.phantom.images=400", "--config.phantom.height=128"),
        *(f"--config.data.dir={tmp_path / 'data'}", "--config.data.workers=1"),
    ]
    started = Process([str(ROOT / "launch.py"), *command], cwd=tmp_path, environ={})
    try:
        assert started.wait_for("drawing the phantom: ", limit_s=120)
        started.signal(signal.SIGTERM)
        assert started.end(limit_s=60) == command_line.EXIT_STOPPED, started.log
    finally:
        started.signal(signal.SIGKILL)
    assert "the same command goes on" in started.lines[-1]


def test_scoring_imports_no_network():
    code = """
import sys
from aals_jax.evaluation import score
from aals_jax.runtime import log
heavy = {"jax", "flax", "optax", "orbax", "grain", "tensorflow_datasets", "pydicom"}
heavy |= {"scipy.stats", "scipy.ndimage", "pyarrow", "ml_collections"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("3", "3")])
def test_scoring_sets_its_threads_before_numpy_is_there(given, used, tmp_path):
    path = tmp_path / "study.toml"
    code = f"""
import os, sys
from aals_jax.commands import command_line
before = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            before.append(os.environ.get("OPENBLAS_NUM_THREADS"))
sys.meta_path.insert(0, Watch())
sys.argv = ["launch.py", "--mode=score", "--study_template=" + {str(path)!r}]
try:
    command_line.main()
except SystemExit as end:
    assert not end.code, end.code
assert before and set(before) == {{{used!r}}}, before
"""
    own = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    own |= {} if given is None else {"OPENBLAS_NUM_THREADS": given}
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60, env=own
    )


@pytest.mark.parametrize(
    ("arguments", "owner"),
    [
        (("--mode=score", "--registry=DIR"), "--mode=audit"),
        (("--mode=score", "--nopixels"), "--mode=audit"),
        (("--mode=audit", "--lesions=a.csv"), "--mode=score"),
        (
            ("--mode=sweep", f"--config={CLAVICLE}"),
            "--mode=run and --mode=build and --mode=plan",
        ),
        (
            ("--mode=sweep", "--config.seed=1"),
            "--mode=run and --mode=build and --mode=plan",
        ),
        (("--index=3", f"--config={CLAVICLE}"), "--mode=sweep"),
        (
            ("--mode=build", "--model=teacher"),
            "--mode=evaluate and --mode=export and --mode=predict and --mode=worklist",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:30],
)
def test_a_flag_of_another_mode_is_told_with_its_mode(parse, arguments, owner):
    text = fault(parse, *arguments)
    assert f"is a flag of {owner}, not of --mode=" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--mode=scroe",), "use one of run, build, evaluate, score, audit, sweep"),
        (("--mode=score", "--lesoins=a"), "did you mean --lesions?"),
        (("--registri=DIR",), "did you mean --registry of --mode=audit?"),
        (("--xyzzy",), "--mode=run has no such flag; see --mode=run --help"),
        (("--mode=score", "--lesions=a", "--out=b"), "needs --detections; see"),
        (("--mode=score", "--out=b"), "needs --images, or --lesions and --detections"),
        ((), "--mode=run needs --config; see --mode=run --help"),
        (("--mode=audit", "registry"), "registry: not a flag, and no flag before it"),
        (
            ("--mode=score", "--hit_rule=near"),
            "one of <center_in_box|distance|iou|radius>",
        ),
        (("--mode=score", "--replicates=0"), "--replicates=0: 0 is not a positive"),
        (("--mode=score", "--images"), "Missing value for flag --images"),
        (("--config=nowhere.py",), "there is no file nowhere.py"),
        ((f"--config={CLAVICLE}:huge",), "'huge' is unknown: use one of"),
        ((f"--config={CLAVICLE}", "--config.seeed=1"), "did you mean --config.seed?"),
        (
            (f"--config={CLAVICLE}", "--config.distil.steps=1"),
            "--config.distil.steps: the config has no such field; did you mean "
            "--config.distill.steps?",
        ),
        (
            (f"--config={CLAVICLE}", "--config.seed=one"),
            "--config.seed=one: a whole number is",
        ),
        (("--config.seed=1", f"--config={CLAVICLE}"), "before a value for --config"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[-30:],
)
def test_a_fault_of_the_command_line_is_one_line_that_says_what_to_do(
    parse, arguments, told
):
    assert told in fault(parse, *arguments)


SCORE = ("--mode=score", "--out=b")
LESIONS = ("--lesions=a", "--detections=b")
AUDIT = ("--mode=audit", "--registry=a")
SWEEP = ("--mode=sweep", "--sweep=a", "--workdir=b")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*SCORE, "--images=a", "--hit_rule=iou"), "--hit_rule is for --lesions"),
        ((*SCORE, "--images=a", "--iou=0.5"), "--iou is for --lesions"),
        ((*SCORE, "--images=a", "--category=x"), "--category is for --lesions"),
        ((*SCORE, "--images=a", "--pictures=x"), "--pictures is for --lesions"),
        ((*SCORE, *LESIONS, "--iou=0.5"), "--iou is for --hit_rule=iou; the rule is"),
        ((*SCORE, *LESIONS, "--distance=5"), "--distance is for --hit_rule=distance"),
        ((*SCORE, "--images=a", "--detections_b=c"), "--detections_b needs"),
        (
            ("--mode=evaluate", "--workdir=a", "--hit_rule=iou"),
            "--hit_rule is a flag of --mode=score, not of --mode=evaluate",
        ),
        (
            ("--mode=evaluate", "--workdir=a", "--compare_model=student"),
            "--compare_model is for --compare",
        ),
        ((*AUDIT, "--sample_seed=1"), "--sample_seed is for --sample"),
        ((*AUDIT, "--sample_columns=a"), "--sample_columns is for --sample"),
        (
            (*AUDIT, "--reports=never", "--report_languages=de"),
            "--report_languages is for reports",
        ),
        ((*AUDIT, "--workers=0", "--timeout_s=9"), "--timeout_s is for processes"),
        ((*AUDIT, "--nopixels", "--timeout_s=9"), "--timeout_s is for processes"),
        ((*SWEEP, "--list", "--retries=3"), "--retries is for a whole sweep"),
        (
            (*SWEEP, "--index=1", "--gpus_per_trial=1"),
            "--gpus_per_trial is for a whole",
        ),
        ((*SWEEP, "--index=1", "--list"), "give one of --list, --index and --trial"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[-30:],
)
def test_a_flag_that_nothing_would_read_is_refused(parse, arguments, told):
    assert told in fault(parse, *arguments)


def test_flags_that_are_read_pass(parse):
    parse(*SCORE, "--images=a")
    parse(*SCORE, *LESIONS, "--hit_rule=iou", "--iou=0.5", "--category=x")
    parse("--mode=evaluate", "--workdir=a", "--replicates=9", "--bootstrap_seed=3")
    parse(*AUDIT, "--sample=9", "--sample_seed=1", "--workers=2", "--timeout_s=9")
    parse(*AUDIT, "--reports=never", "--report_labels=a", "--report_rules=b")
    parse(*SWEEP, "--index=0", "--cpus_per_trial=2")
    parse(*SWEEP, "--retries=3", "--gpus_per_trial=1")


def test_launch_tells_a_fault_without_a_traceback(tmp_path):
    (tmp_path / "empty.py").write_text("")
    for fault, remedy in {
        "--mode=scroe": "use one of run, build",
        "--config=nowhere.py": "there is no file nowhere.py",
        "--config=empty.py": "the file empty.py has no get_config(); see configs/",
        "--lesions=a.csv": "is a flag of --mode=score, not of --mode=run",
    }.items():
        told = launch(fault, cwd=tmp_path)
        assert remedy in told.stderr
        assert told.returncode == command_line.EXIT_USAGE
        assert told.stdout == "" and told.stderr.count("\n") == 1
        assert told.stderr.startswith("launch.py: --")


def test_the_mode_is_found_wherever_it_stands():
    assert command_line.mode_of([]) == "run"
    assert command_line.mode_of(["--config", "a.py", "--config.seed", "3"]) == "run"
    assert command_line.mode_of(["--lesions", "a.csv", "--mode", "score"]) == "score"
    assert command_line.mode_of(["--list", "-mode=sweep"]) == "sweep"


def test_the_fields_of_a_config_are_flags(parse):
    given = ("--config.distill.max_strength=8", "--config.data.dir=DIR")
    given += ("--config.augment.scale=(0.9, 1.1)", "--noconfig.augment.flip")
    config = parse("--config", f"{CLAVICLE}:paper", *given)["config"]
    assert (config.scale, config.data.dir) == ("paper", "DIR")
    assert config.distill.max_strength == 8.0
    assert tuple(config.augment.scale) == (0.9, 1.1)
    assert config.augment.flip is False


def test_choices_of_flags_are_those_of_what_they_set():
    """The commands don't import it, so that their help is quick."""

    def choices(mode: str, name: str) -> set[str]:
        return set(command_line.load(mode).COMMAND.values[name].parser.enum_values)

    assert choices("evaluate", "model") == types.MODELS.keys()
    assert choices("export", "model") == types.MODELS.keys()
    assert choices("evaluate", "split") == set(records.SPLITS)
    assert choices("score", "hit_rule") == definitions.HITS.keys()
    assert choices("audit", "reports") == set(report_text.READ)
    assert choices("audit", "report_silence") == report_text.SILENCE.keys()


def test_the_help_names_the_overlap_that_scoring_takes_by_default():
    help = command_line.load("score").COMMAND.values["iou"].help
    assert f"Without it: {matching.IOU_THRESHOLD:g}." in help


def documented() -> list[tuple[str, str]]:
    """Every call of launch.py in documents, configs and docstrings: place, arguments.

    What stands in brackets may be left out, and is; of alternatives comes the first.
    """
    files = [ROOT / "README.md", ROOT / "Makefile", ROOT / "launch.py"]
    files += [*ROOT.glob("docs/*.md"), *ROOT.glob("configs/**/*.py")]
    files += [*ROOT.glob("aals_jax/**/*.py"), *ROOT.glob("benchmarks/*.py")]
    pattern = re.compile(r"\bpython[\d.]* launch\.py([ \n][^\n]*)")
    calls = []
    for file in sorted(files):
        text = re.sub(r"(\\+\n\s*|\n\s+(?=--workdir))", " ", file.read_text())
        for match in pattern.finditer(text):
            line = re.split(r"`| && |   |\"\"\"", match[1])[0]
            line = re.sub(r"\[[^\]]*\]|#.*|\.\.\.", "", line).strip()
            line = line.replace("$SLURM_ARRAY_TASK_ID", "0").replace("$$", "$")
            if line not in ("--config", "--mode=sweep"):  # the rest stands elsewhere
                calls.append((str(file.relative_to(ROOT)), line))
    return calls


CALLS = documented()


def test_the_documents_name_the_command_of_every_mode():
    named = {command_line.mode_of(shlex.split(line)) for _, line in CALLS}
    assert named == set(MODES)
    assert len(CALLS) >= 25


@pytest.mark.parametrize(("file", "line"), CALLS)
def test_every_documented_call_parses(parse, monkeypatch, file, line):
    monkeypatch.chdir(ROOT)
    arguments = shlex.split(line)
    if "--help" not in arguments:
        assert parse(*arguments)["mode"] == command_line.mode_of(arguments)


@pytest.mark.parametrize("topology, words", [
    (("--topology=v5e:3x5",), "topology 'v5e:3x5' is unknown: use one of v5e:1x1"),
    ((), "needs --topology or --topologies"),
    pytest.param(
        ("--topology=v5e:4x4",), "pip install -r requirements/plan.txt",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("libtpu") is not None, reason="it is installed"
        ),
    ),
])  # fmt: skip
def test_a_plan_that_can_t_be_made_ends_with_one_line(topology, words):
    ended = launch("--mode=plan", f"--config={CLAVICLE}", *topology)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1 and words in ended.stderr
