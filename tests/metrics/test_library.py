"""The library: what it offers, and that it needs NumPy and SciPy alone."""

import ast
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

from aals_jax import metrics

ROOT = Path(__file__).parents[2]

# Refuses every package but these, whatever is installed.
ALONE = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        ours = name == "aals_jax" or f"{name}.".startswith("aals_jax.metrics.")
        theirs = top in ("numpy", "scipy") or top in sys.stdlib_module_names
        if not ours and not theirs and not top.startswith("_sysconfigdata"):
            raise ImportError(f"{name} is refused")

sys.meta_path.insert(0, Refused())
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_public_name_needs_numpy_and_scipy_alone():
    code = """
from aals_jax import metrics
import doctest
for name in metrics.__all__:
    assert getattr(metrics, name) is not None, name
from aals_jax.metrics import *
from aals_jax.metrics import froc
assert froc.froc_score is metrics.froc_score
assert doctest.testmod(metrics).attempted > 25
assert doctest.testmod(metrics).failed == 0
foreign = {n.split(".")[0] for n in sys.modules} & {"jax", "flax", "cv2", "pandas"}
assert not foreign, foreign
"""
    done = run(code)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("package", ["cv2", "jax", "aals_jax.report", "matplotlib"])
def test_the_refusal_of_these_tests_works(package):
    done = run(f"import {package}")
    assert done.returncode and f"{package} is refused" in done.stderr


def test_importing_the_package_imports_none_of_its_modules():
    code = """
import aals_jax.metrics
loaded = {n for n in sys.modules if n.startswith("aals_jax.metrics.")}
assert not loaded and "numpy" not in sys.modules, loaded
"""
    assert run(code).returncode == 0


def test_the_names_of_the_table_the_list_and_the_types_are_one():
    assert sorted(metrics._MODULE_OF) == sorted(metrics.__all__) == metrics.__all__
    tree = ast.parse(Path(metrics.__file__ or "").read_text())
    typed = {
        alias.name: (node.module or "").rpartition(".")[2]
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == metrics._MODULE_OF
    assert set(metrics.__all__) <= set(dir(metrics))


def test_every_public_name_has_an_example_and_a_docstring():
    source = "".join(
        example.source
        for example in doctest.DocTestParser().get_examples(metrics.__doc__ or "")
    )
    words = {
        node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)
    }
    assert set(metrics.__all__) <= words
    for name in metrics.__all__:
        value = getattr(metrics, name)
        assert isinstance(value, tuple) or (value.__doc__ or "").strip(), name


def test_an_unknown_name_is_told():
    with pytest.raises(AttributeError, match="no attribute 'aurok'"):
        _ = metrics.aurok


def test_its_requirements_are_those_of_the_program():
    def lines(name: str) -> set[str]:
        text = (ROOT / name).read_text()
        return {line for line in text.splitlines() if line and line[0] != "#"}

    small = lines("requirements/metrics.txt")
    assert {line.split(">")[0] for line in small} == {"numpy", "scipy"}
    assert small <= lines("requirements.txt")


def test_the_page_names_every_public_name_and_its_example_runs():
    text = (ROOT / "docs/metrics.md").read_text()
    assert [name for name in metrics.__all__ if f"`{name}`" not in text] == []
    example = text.partition("```python\n")[2].partition("```")[0]
    found: dict = {}
    exec(example, found)
    assert float(found["auroc"](found["scores"], found["labels"])) == 0.75
    told = [0.5, 1.0]
    assert found["sensitivity_at"](found["data"], [0.2, 0.25]).tolist() == told
    score = found["froc_score"](found["data"], found["COUNT_LIMITS"])
    assert round(float(score), 3) == 0.833
