"""Laws of the house, read from the syntax trees: which room may import which.

The order of packages is docs/architecture.md's; where the two differ, this is wrong or
that is. A package imports earlier ones only, and none of its own group.
"""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each group of packages may import the groups before it.
FLOORS = (
    {"types"},
    {"metrics", "models", "runtime", "report"},
    {"method"},
    {"input"},
    {"evaluation"},
    {"runs"},
    {"handover", "sweeps"},
    {"study"},
    {"commands"},
)

# A package from outside -> the only places that may import it.
OUTSIDE = {
    "orbax": {"aals_jax.runs.checkpoints"},
    "grain": {"aals_jax.input.pipeline"},
    "tensorboardX": {"aals_jax.runs.history"},
    "tensorflow_datasets": {"aals_jax.input.dataset", "data"},
    "absl": {"aals_jax.commands"},
    "safetensors": {"aals_jax.runtime.weights"},
    "ml_collections": {"aals_jax.commands", "configs"},
    "pydicom": {"data"},
    "highdicom": {"data.reading_room"},
    "jax2onnx": {"aals_jax.handover.onnx_program"},
    "onnxruntime": {"aals_jax.handover.onnx_program"},
    "dicomweb_client": {"data.reading_room.dicomweb"},
    "requests": {"data.reading_room.access", "data.reading_room.dicomweb"},
    "apache_beam": {"data.cxr_registry.build.beam_shards"},
    "ray": {"aals_jax.sweeps.ray_engine"},
    "optuna": {"aals_jax.sweeps.ray_engine"},
    "tensorflow": set(),
    "torch": set(),
}

# What JAX knows of devices and of hosts: names that one module alone may use.
KNOWN_TO = {
    "aals_jax.runtime.devices": {
        "pmap", "shard_map", "Mesh", "make_mesh", "NamedSharding", "PartitionSpec",
        "devices", "local_devices", "device_count", "local_device_count",
        "addressable_shards", "process_index",  # that a device belongs to
    },
    "aals_jax.runtime.hosts": {
        "process_index", "process_count", "multihost_utils", "global_state",
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Module:
    name: str  # dotted; a package by its folder
    tree: ast.Module

    @property
    def top(self) -> str:
        """`data` for data.cxr_registry.build.plan."""
        return self.name.split(".")[0]

    @property
    def room(self) -> str:
        """`models` for aals_jax.models.fpn; "" outside of aals_jax."""
        return ([*self.name.split("."), ""][1]) if self.top == "aals_jax" else ""


def read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    return Module(".".join(parts), ast.parse(path.read_text()))


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
            # `from aals_jax.method import losses` is a module; `sharpen` would be none
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module or ""


def tops(module: Module) -> set[str]:
    return {name.split(".")[0] for name in imports(module)}


def test_a_package_imports_earlier_ones_only():
    floor_of = {name: k for k, floor in enumerate(FLOORS) for name in floor}
    assert set(floor_of) == {module.room for module in MODULES} - {""}
    for module in MODULES:
        if not module.room:
            continue
        assert module.room in floor_of, f"{module.name}: a package without a floor"
        for name in imports(module):
            other = Module(name, module.tree).room
            if other and other != module.room:
                below = floor_of[other] < floor_of[module.room]
                assert below, f"{module.name} imports {name}"


def test_no_import_goes_round():
    edges = {m.name: {n for n in imports(m) if n in NAMES} for m in MODULES}
    settled: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        for other in edges[name] - {name} - settled:
            walk(other, (*path, name))
        settled.add(name)

    for name in edges:
        walk(name, ())


def test_nothing_imports_the_launcher_and_the_package_no_configs():
    for module in MODULES:
        assert "launch" not in tops(module), module.name
        if module.top in ("aals_jax", "data"):
            assert "configs" not in tops(module), module.name


def test_data_imports_neither_jax_nor_the_package():
    barred = {"jax", "jaxlib", "flax", "optax", "aals_jax"}
    for module in MODULES:
        if module.top == "data":
            assert not tops(module) & barred, module.name


def test_metrics_and_report_do_not_know_jax():
    for module in MODULES:
        if module.room in ("metrics", "report"):
            assert not tops(module) & {"jax", "jaxlib", "flax", "optax"}, module.name


@pytest.mark.parametrize("package", OUTSIDE)
def test_a_package_from_outside_is_imported_in_its_place_only(package):
    for module in MODULES:
        if package in tops(module):
            places = (f"{place}." for place in OUTSIDE[package])
            assert f"{module.name}.".startswith(tuple(places)), module.name


def test_devices_and_hosts_are_known_in_one_module_each():
    for module in MODULES:
        used = set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                is_ours = (
                    isinstance(node.value, ast.Name) and node.value.id == "devices"
                )
                used |= set() if is_ours else {node.attr}
            elif isinstance(node, ast.ImportFrom) and node.module != "aals_jax.runtime":
                used |= {alias.name for alias in node.names}
        foreign = set[str]().union(*KNOWN_TO.values()) - KNOWN_TO.get(
            module.name, set()
        )
        assert not foreign & used, f"{module.name}: {foreign & used}"


def test_the_reader_of_this_test_sees_what_python_imports():
    (module,) = (m for m in MODULES if m.name == "aals_jax.method.steps")
    assert {"aals_jax.method.ema", "aals_jax.method.losses", "aals_jax.types"} <= set(
        imports(module)
    )
    assert {"jax", "flax", "optax"} <= tops(module)


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "common", "core", "helpers", "misc"}
    for module in MODULES:
        assert not drawers & set(module.name.split(".")), module.name


def test_nothing_happens_at_import_time():
    """Top-level code is definitions, constants and tables, never a loop or a `with`."""
    for module in MODULES:
        for node in module.tree.body:
            assert not isinstance(node, ast.For | ast.While | ast.With | ast.Try), (
                f"{module.name}:{node.lineno}"
            )
