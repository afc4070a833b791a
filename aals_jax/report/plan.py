"""A plan as Markdown: what each program takes of a device, and whether that fits."""

from collections.abc import Iterator, Mapping
from typing import Any

from aals_jax.report import markdown

COMPILED = (
    "Everything here was compiled, nothing ran: sizes and operations are XLA's own "
    "count, and no time of a step can be read from them."
)
RAN = "Sizes and operations are XLA's own count; seconds were measured on {}."
_HEAD = (
    "topology", "program", "images a device", "memory, GiB", "arguments", "temporary",
    "new output", "GFLOP a call", "traffic, GB", "collectives", "compiled in",
    "s a call",
)  # fmt: skip
_TITLES = {"pretrain": "stage 1", "distill": "stage 2", "evaluation": "evaluation"}


def in_words(images: Mapping[str, int]) -> str:
    """
    >>> in_words({"image_level": 1, "labelled": 2}), in_words({"images": 8})
    ('2 of R and N, 1 of P', '8')
    """
    words = {"labelled": " of R and N", "image_level": " of P", "images": ""}
    return ", ".join(
        f"{images[kind]}{w}" for kind, w in words.items() if kind in images
    )


def in_gib(needed: int | None, there: int | None) -> str:
    """
    >>> in_gib(2**30, 2**34), in_gib(2**29, None)
    ('1.00 of 16.00', '0.50')
    """
    need = "unknown" if needed is None else f"{needed / 2**30:.2f}"
    return need if there is None else f"{need} of {there / 2**30:.2f}"


def render(record: Mapping[str, Any]) -> str:
    """The page of `runs.plan.plan`'s record."""
    config, versions = record["config"], record["versions"]
    topologies = record["topologies"]
    with_versions = ", ".join(f"{name} {v}" for name, v in versions.items())
    parts = [
        f"# Plan: {config['finding']}, {config['scale']} scale",
        f"Method {config['method']}, {config['side']} px, {config['dtype']}; "
        f"{with_versions}. All numbers are of one device.",
        *_how(topologies),
        markdown.table(_HEAD, [line for t in topologies for line in _lines(t)]),
        *(text for t in topologies for text in _sentences(t)),
    ]
    return "\n\n".join(parts) + "\n"


def _how(topologies: list[Mapping[str, Any]]) -> Iterator[str]:
    if any(not t["ran"] for t in topologies):
        yield COMPILED
    for t in topologies:
        if t["ran"]:
            yield RAN.format(f"{t['devices']} x {t['kind']}")


def _lines(topology: Mapping[str, Any]) -> Iterator[list[str]]:
    there = topology.get("memory_bytes")
    for name, program in topology.get("programs", {}).items():
        fits = program["fits"]
        memory = in_gib(program["needed_bytes"], there)
        yield [
            f"{topology['name']} ({topology['devices']} x {topology['kind']})",
            _TITLES[name],
            in_words(program["images"]),
            f"{memory}, **does not fit**" if fits is False else memory,
            *_details(program),
            f"{program['compile_s']:.0f} s, {program['compile_cpu_s']:.0f} s of CPU",
            _measured(program),
        ]


def _measured(program: Mapping[str, Any]) -> str:
    if "seconds" not in program:
        return "not run"
    peak = program.get("peak_bytes")
    held = "" if peak is None else f", {in_gib(peak, None)} GiB held at most"
    return f"{program['seconds']:.3g}{held}"


def _details(program: Mapping[str, Any]) -> list[str]:
    """Arguments, temporary, new output, GFLOP, traffic, collectives."""
    if "arguments" not in program:
        return ["-"] * 6  # the compiler stopped
    new = program["output"] - program["reused"]
    gib = [program["arguments"], program["temporary"], new]
    return [
        *(f"{n / 2**30:.2f}" for n in gib),
        _scaled(program["flops"], 1e9),
        _scaled(program["traffic"], 1e9),
        _collectives(program["collectives"]),
    ]


def _scaled(value: float | None, unit: float) -> str:
    return "unknown" if value is None else f"{value / unit:.4g}"


def _collectives(kinds: Mapping[str, Mapping[str, int]]) -> str:
    return (
        ", ".join(
            f"{kind['count']} {name}, {kind['bytes'] / 1e6:.3g} MB"
            for name, kind in kinds.items()
        )
        or "none"
    )


def _sentences(topology: Mapping[str, Any]) -> Iterator[str]:
    name = topology["name"]
    if "refused" in topology:
        yield f"{name}, {topology['devices']} devices: {topology['refused']}."
    if found := topology.get("largest"):
        yield _largest(name, found, topology["memory_bytes"])


def _largest(name: str, found: Mapping[str, Any], there: int) -> str:
    kinds = [kind for kind in ("labelled", "image_level") if found[f"next_{kind}"]]
    following = in_words({kind: found[f"next_{kind}"] for kind in kinds})
    beyond = f"{in_gib(found['next_needed_bytes'], there)} GiB"
    start = f"{name}, largest batch a device by the step of {_TITLES[found['stage']]}: "
    if not found["labelled"]:
        return f"{start}not even {following}, which need {beyond}."
    most = in_words({kind: found[kind] for kind in kinds})
    return (
        f"{start}{most} ({in_gib(found['needed_bytes'], there)} GiB). {following} need "
        f"{beyond} and do not fit. Both were compiled, as {found['compiles']} batches "
        "were: a line through two said where to look."
    )
