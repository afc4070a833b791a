"""Kubernetes manifests of docs/kubernetes against the models of Kubernetes' own client.

    pip install -r requirements/bench.txt
    python benchmarks/manifests.py

Each is read into its model and written out again: a field that the model does not know
is lost on the way, and a required one that is missing raises. Of a RayCluster the pod
templates are checked, since its own model is not in the client.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client  # pyright: ignore[reportMissingImports]

FOLDER = Path(__file__).parent.parent / "docs" / "kubernetes"
MODELS = {"Service": "V1Service", "Job": "V1Job"}


def parts(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What of a document has a model: its place, the model's name, the content."""
    kind = document["kind"]
    if kind in MODELS:
        yield kind, MODELS[kind], document
        return
    spec = document["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        name = group.get("groupName", "head")
        yield f"{kind}, pods of {name}", "V1PodTemplateSpec", group["template"]


def lost(content: Any, back: Any, place: str = "") -> Iterator[str]:
    """The fields of `content` that `back` lacks or has otherwise."""
    if isinstance(content, dict):
        for name, value in content.items():
            there = back.get(name) if isinstance(back, dict) else None
            yield from lost(value, there, f"{place}.{name}")
    elif isinstance(content, list):
        same = isinstance(back, list) and len(back) == len(content)
        for i, value in enumerate(content):
            yield from lost(value, back[i] if same else None, f"{place}[{i}]")
    elif content != back and str(content) != str(back):
        yield f"{place}: {content!r} became {back!r}"


def main() -> None:
    api, faults = client.ApiClient(), 0
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for place, model, content in parts(document):
                read = api.deserialize(json.dumps(content), model, "application/json")
                back = api.sanitize_for_serialization(read)
                found = [*lost(content, back)]
                faults += len(found)
                print(f"{path.name}: {place}: {found or 'fits'}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
