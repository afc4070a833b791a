"""The build by Apache Beam, run as its user would, in Beam's own environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.registry_files import registry

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-beam/bin/python"
TWO_WORKERS = (
    "--runner=DirectRunner --direct_num_workers=2 "
    "--direct_running_mode=multi_processing"
)


def build(python: Path | str, root: Path, tmp: Path, name: str, *more: str) -> Path:
    command = [str(python), "-m", "data.cxr_registry.build", "--registry", str(root)]
    command += ["--data_dir", str(tmp / name), "--key_file", str(tmp / "key")]
    command += ["--findings", "rib", "--side", "64", *more]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(done.stdout.strip())


@pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-beam: run `make beam`")
def test_two_beam_workers_give_the_local_builds_bytes(tmp_path):
    """With a file in the quarantine; TFDS and protobuf are other versions there."""
    root = registry(tmp_path / "registry")
    (root / "images/003.dcm").write_bytes(b"no image")
    more = ("--max_bad_share", "0.1", "--workers", "0")
    path = build(sys.executable, root, tmp_path, "local", *more)
    other = build(PYTHON, root, tmp_path, "beam", *more, "--beam", TWO_WORKERS)
    assert other.parent.name == path.parent.name
    names = sorted(file.name for file in path.iterdir())
    assert names == sorted(file.name for file in other.iterdir())
    for name in names:
        assert (path / name).read_bytes() == (other / name).read_bytes(), name


def test_without_beam_the_error_names_the_file_to_install(tmp_path):
    root = registry(tmp_path / "registry")
    command = [sys.executable, "-m", "data.cxr_registry.build", "--beam", ""]
    command += ["--registry", str(root), "--data_dir", str(tmp_path / "data")]
    command += ["--findings", "rib", "--key_file", str(tmp_path / "key")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: building with Apache Beam needs pip install" in done.stderr
