"""The order of the code, read from its syntax trees: who imports whom, and how long."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEAVES = {
    "sharpening", "losses", "ensemble", "guides", "methods", "ema", "schedule",
    "models", "augment", "views",
    "detection", "levels", "pixels", "matching", "roc", "froc", "intervals", "delong",
    "calibration", "readings", "measure", "operating", "subgroups", "curves", "summary",
    "search", "comparing",
}  # fmt: skip
STEPS = {"steps", "optim"}
RIM = {"parallel", "pipeline", "checkpoints", "reporting", "coco", "locks"}
# above the rim, by hand: each may use the ones before it
TOP = (
    "monitors", "faults", "image_table", "submissions", "prepare", "inference",
    "evaluate", "report", "examples",
    "score", "audit_pictures", "audit", "replicates", "assess", "train", "settings",
    "sharing", "predict", "plan", "run", "rescore", "trials", "sweep_file",
    "sweep_table", "sweep_results", "sweep_ray", "sweep", "study_plan",
    "study_results", "study_comparisons", "study_block", "study_tables", "study_facts",
    "study_dead_zone", "study_repeats", "study_views", "study",
)  # fmt: skip

# What one module may import of the world; the rest may not.
ONLY = {
    "orbax": {"aals_jax.checkpoints"},
    "grain": {"aals_jax.pipeline"},
    "tensorboardX": {"aals_jax.reporting"},
    "tensorflow_datasets": {"aals_jax.pipeline", "data"},
    "absl": {"launch", "configs"},
    "ml_collections": {"launch", "configs"},
    "pydicom": {"data"},
    "spacy": {"data.cxr_registry.text_scopes"},
    "negspacy": {"data.cxr_registry.text_scopes"},
    "apache_beam": {"data.cxr_registry.beam_shards"},
    "ray": {"aals_jax.sweep_ray"},
    "optuna": {"aals_jax.sweep_ray"},
    "tensorflow": set(),
    "torch": set(),
}
# Names that only the module of devices may use.
DEVICES = {
    "pmap", "shard_map", "Mesh", "make_mesh", "NamedSharding", "PartitionSpec",
    "devices", "local_devices", "device_count", "local_device_count",
    "process_index", "process_count", "addressable_shards",
}  # fmt: skip

MAX_MODULE, MAX_FUNCTION = 300, 50  # lines, docstrings included
LONG_FUNCTIONS = {
    "aals_jax.pipeline.batches": 60,  # one chain of Grain; docstring of the law
    "aals_jax.steps.make_distill_step": 55,  # the formula, its closures in order
    "configs.base.fields": 75,  # a list: every field once
    "data.cxr_registry.build.prepare": 128,  # its docstring lists 18 options
    "data.cxr_registry.records.scan_registry": 80,  # one check after the other
    "data.cxr_registry.workers.map_in_order": 60,
}


@dataclasses.dataclass(frozen=True)
class Module:
    name: str  # dotted, a package by its folder
    tree: ast.Module
    length: int

    @property
    def short(self) -> str:
        """`models` for aals_jax.models.fpn, `launch` for launch."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "aals_jax" and len(parts) > 1 else parts[0]


def is_script_part(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    text = path.read_text()
    tree = ast.parse(text)
    # what only a script does, `if __name__ == ...`, is no import of the module
    tree.body = [node for node in tree.body if not is_script_part(node)]
    return Module(".".join(parts), tree, len(text.splitlines()))


MODULES = [
    read(path)
    for folder in ("aals_jax", "data", "configs")
    for path in sorted((ROOT / folder).rglob("*.py"))
] + [read(ROOT / "launch.py")]
NAMES = {module.name for module in MODULES}


def imports(module: Module) -> Iterator[str]:
    """Dotted names of all modules it imports, inside functions too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module.name}: a relative import"
            # `from aals_jax import losses` is a module, `from ... import sharpen` none
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module or ""


def own(module: Module) -> set[str]:
    """The modules of aals_jax it imports, by their short names, without itself."""
    names = {name for name in imports(module) if name.split(".")[0] == "aals_jax"}
    return {name.split(".")[1] for name in names if "." in name} - {module.short}


def packages(module: Module) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def of(*shorts: str) -> list[Module]:
    return [m for m in MODULES if m.name.startswith("aals_jax") and m.short in shorts]


def test_every_module_has_its_place_in_the_order():
    placed = {"types", "aals_jax", *LEAVES, *STEPS, *RIM, *TOP}
    found = {m.short for m in MODULES if m.name.startswith("aals_jax")}
    assert found <= placed
    assert {"types"} | LEAVES | STEPS | RIM <= found


def test_types_imports_nothing_of_ours():
    assert all(not own(module) for module in of("types"))


def test_leaves_import_types_and_leaves_only():
    for module in of(*LEAVES):
        assert own(module) <= {"types"} | LEAVES, module.name


def test_steps_import_no_outside_world():
    for module in of(*STEPS):
        assert own(module) <= {"types"} | LEAVES | STEPS, module.name


def test_outside_worlds_do_not_import_each_other():
    for module in of(*RIM):
        assert own(module) <= {"types"} | LEAVES, module.name


def test_the_top_imports_downwards_only():
    for number, name in enumerate(TOP):
        allowed = {"types"} | LEAVES | STEPS | RIM | set(TOP[:number])
        for module in of(name):
            assert own(module) <= allowed, module.name


def test_no_import_goes_round():
    edges = {m.name: {n for n in imports(m) if n in NAMES} for m in MODULES}

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        for other in edges[name] - {name}:
            walk(other, (*path, name))

    for name in edges:
        walk(name, ())


def test_nothing_imports_the_launcher_and_the_package_no_configs():
    for module in MODULES:
        assert "launch" not in packages(module), module.name
        if module.short not in ("configs", "launch"):
            assert "configs" not in packages(module), module.name


def test_data_imports_neither_jax_nor_the_package():
    for module in MODULES:
        if module.name.startswith("data"):
            barred = {"jax", "jaxlib", "flax", "optax", "aals_jax", "launch"}
            assert not packages(module) & barred, module.name


def test_host_side_metrics_do_not_know_jax():
    nets = {
        "sharpening", "losses", "ensemble", "guides", "methods", "ema", "schedule",
        "models", "views",
    }  # fmt: skip
    for module in of(*LEAVES - nets, "coco", "submissions", "report", "score"):
        assert not packages(module) & {"jax", "flax", "optax"}, module.name


@pytest.mark.parametrize("package", ONLY)
def test_a_package_is_imported_in_its_place_only(package):
    users = {m.name for m in MODULES if package in packages(m)}
    strangers = {
        name
        for name in users
        if not any(name == at or name.startswith(f"{at}.") for at in ONLY[package])
    }
    assert not strangers


def test_devices_are_known_in_one_module():
    for module in MODULES:
        if module.name == "aals_jax.parallel":
            continue
        for node in ast.walk(module.tree):
            used = ()
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used = {node.attr} if node.value.id != "parallel" else ()
            elif isinstance(node, ast.Attribute):
                used = {node.attr}
            elif isinstance(node, ast.ImportFrom):
                used = {alias.name for alias in node.names}
            assert not DEVICES.intersection(used), f"{module.name}: {used}"


def test_the_reader_of_this_test_sees_what_python_imports():
    (module,) = of("steps")
    assert {"types", "ema", "losses", "schedule", "guides", "methods"} == own(module)
    assert {"jax", "flax", "optax"} <= packages(module)


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "common", "core", "helpers", "misc"}
    for module in MODULES:
        assert not drawers & set(module.name.split(".")), module.name


def functions(module: Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            yield f"{module.name}.{node.name}", length


def test_modules_are_short():
    assert not {m.name: m.length for m in MODULES if m.length > MAX_MODULE}


def test_functions_are_short():
    long = {
        name: length
        for module in MODULES
        for name, length in functions(module)
        if length > LONG_FUNCTIONS.get(name, MAX_FUNCTION)
    }
    assert not long


def test_exceptions_are_still_needed():
    made = {name: n for module in MODULES for name, n in functions(module)}
    assert all(made[name] > MAX_FUNCTION for name in LONG_FUNCTIONS)


def test_nothing_happens_at_import_time():
    """Top-level calls are constants and tables, not loops or `with`."""
    for module in MODULES:
        for node in module.tree.body:
            assert not isinstance(node, ast.For | ast.While | ast.With | ast.Try), (
                f"{module.name}:{node.lineno}"
            )
