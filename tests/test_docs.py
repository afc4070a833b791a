"""What the documentation names exists: paths, modules, links, anchors, versions."""

import ast
import fnmatch
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import aals_jax

ROOT = Path(__file__).parents[1]
TOPS = ("aals_jax", "data", "configs", "tests", "docs", "benchmarks", "requirements")
# Made by a command that the page names, and ignored by git.
GENERATED = ("docs/api",)


def tracked_files() -> list[str]:
    """The files of the project, in a git checkout or in an archive of one."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(
            command, cwd=ROOT, check=True, capture_output=True, text=True
        )
        return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]
    return [
        path.relative_to(ROOT).as_posix()
        for top in TOPS
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ] + [path.name for path in ROOT.iterdir() if path.is_file()]


FILES = tracked_files()
FOLDERS = {str(parent) for path in FILES for parent in Path(path).parents} - {"."}
PAGES = sorted(
    path for path in FILES if path.endswith(".md") and "templates" not in path
)

PATH = re.compile(rf"(?<![\w/.\-])(?:{'|'.join(TOPS)})/[\w./*\-]*\w")
MODULE = re.compile(
    r"(?<![\w/.\-])(?:aals_jax|data\.(?:cxr_registry|phantom|public))(?:\.\w+)+"
)
BARE_FILE = re.compile(r"`((?:[\w\-]+/)*[\w\-]+\.py)(?::\w+)?`")
LINK = re.compile(r"\]\(([^()\s]+)\)")


def exists(path: str) -> bool:
    path = path.rstrip("/")
    if path.startswith(GENERATED):
        return True
    return path in FOLDERS or bool(fnmatch.filter(FILES, path))


def stale_paths(text: str) -> Iterator[str]:
    """Paths below a folder of the project that are not there."""
    for path in PATH.findall(text):
        if not exists(path):
            yield path


def stale_modules(text: str) -> Iterator[str]:
    """`data.cxr_registry.guard.failures.trace`: a module, or a name that one has."""
    for name in MODULE.findall(text):
        parts = name.split(".")
        paths = ["/".join(parts[:end]) for end in range(len(parts), 0, -1)]
        path = next(p for p in paths if p in FOLDERS or f"{p}.py" in FILES)
        rest = parts[path.count("/") + 1 :]
        if rest and rest[0] not in names_of(path):
            yield name


def names_of(path: str) -> set[str]:
    """What a module or package defines or imports at its top."""
    file = ROOT / (f"{path}.py" if f"{path}.py" in FILES else f"{path}/__init__.py")
    if not file.exists():
        return set()
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def stale_files(text: str) -> Iterator[str]:
    """`steps.py`, `models/detector.py`: the end of the path of some module."""
    for name in BARE_FILE.findall(text):
        if not any(f"/{path}".endswith(f"/{name}") for path in FILES):
            yield name


def anchors(page: str) -> set[str]:
    """As GitHub makes them of the headings of a page."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.M | re.S)
    slugs: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while (numbered := f"{slug}-{number}" if number else slug) in slugs:
            number += 1
        slugs.add(numbered)
    return slugs


def broken_links(page: str) -> Iterator[str]:
    for link in LINK.findall((ROOT / page).read_text()):
        if re.match(r"[a-z]+:", link):
            continue  # the web
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (
            anchor
            and anchor not in anchors(str(target.resolve().relative_to(ROOT.resolve())))
        ):
            yield link


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_modules_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    # a link's target is relative to its page: broken_links looks at it
    words = LINK.sub("]", text)
    stale = [*stale_paths(words), *stale_modules(words), *stale_files(words)]
    assert not stale, f"{page} names what is not there: {sorted(set(stale))}"


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_anchors_lead_somewhere(page):
    assert not list(broken_links(page)), page


def test_files_that_code_and_commands_name_exist():
    """Docs, benchmarks and requirements in docstrings, errors, Makefile and gate."""
    named = re.compile(
        r"(?<![\w/.\-])(?:docs|benchmarks|requirements|tests)/[\w./\-]*\.(?:md|py|txt|lock)"
    )
    stale = {
        f"{file}: {path}"
        for file in FILES
        if file.endswith((".py", ".txt", "Makefile", ".ci/run", ".toml", ".yaml"))
        for path in named.findall((ROOT / file).read_text())
        if not exists(path)
    }
    assert not stale, sorted(stale)


def test_the_reader_of_this_test_finds_what_is_stale():
    text = "`aals_jax/nothing.py`, data.cxr_registry.keys.nobody, `no.py`, docs/*.md"
    assert list(stale_paths(text)) == ["aals_jax/nothing.py"]
    assert list(stale_modules(text)) == ["data.cxr_registry.keys.nobody"]
    assert list(stale_files(text)) == ["aals_jax/nothing.py", "no.py"]
    assert "two-commands" in anchors("README.md")


def test_every_page_of_docs_can_be_reached_from_the_readme():
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        page = waiting.pop()
        for link in LINK.findall((ROOT / page).read_text()):
            target = ((ROOT / page).parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists():
                path = target.relative_to(ROOT.resolve()).as_posix()
                if path not in reached:
                    reached.add(path)
                    waiting.append(path)
    assert not set(PAGES) - reached


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dynamic = project["tool"]["setuptools"]["dynamic"]
    assert dynamic["version"] == {"attr": "aals_jax.__version__"}
    version = re.escape(aals_jax.__version__)
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {version}$", citation, flags=re.M)
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{version}\]", changelog, flags=re.M)


def test_a_wheel_holds_every_file_that_the_code_reads():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    settings = project["tool"]["setuptools"]
    included = {
        str(path.relative_to(ROOT))
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    others = {
        path
        for path in FILES
        if path.startswith(("aals_jax/", "data/", "configs/"))
        and not path.endswith((".py", "data/public/README.md"))
    }
    assert not others - included


WALK = re.compile(r"`([\w/]+\.py)`:\s+((?:`[\w.]+`(?:,\s+|\s+and\s+|\s+or\s+)?)+)")


def defined(path: str) -> set[str]:
    """Functions and classes of a file, methods with their class: `Checkpoints.save`."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (n for n in node.body if isinstance(n, ast.FunctionDef))
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


def test_the_walks_of_the_architecture_page_pass_functions_that_exist():
    text = (ROOT / "docs/architecture.md").read_text()
    walks = text[text.index("## Five walks") : text.index("## Decisions")]
    steps = WALK.findall(walks)
    assert len(steps) > 25
    folder = ""
    for path, functions in steps:
        folder = path.rpartition("/")[0] or folder  # `augment.py` is beside the last
        place = path if "/" in path else f"{folder}/{path}"
        for name in re.findall(r"`([\w.]+)`", functions):
            assert name in defined(place), f"{place}: {name}"
