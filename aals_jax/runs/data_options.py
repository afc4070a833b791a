"""The data of a config as records: what is built, drawn and selected."""

import shlex
from pathlib import Path
from typing import Any

from aals_jax.input.prepare import DataOptions, Selection
from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.labels.report_text import ReportOptions
from data.cxr_registry.tables.records import ReadingOptions
from data.phantom import fractures
from data.phantom import registry as phantom


def of(config: Any) -> DataOptions:
    """Everything about the data of a run; the phantom's where no registry is given.

    Raises:
        ValueError: the phantom can't serve the config, or a value is out of range.
    """
    if config.registry is None:
        drawn = _phantom_options(config)
        registry = Path(config.data.dir) / drawn.name
        findings = fractures.SITES
    else:
        drawn, registry, findings = None, Path(config.registry), (config.finding,)
    return DataOptions(
        build=_build_options(config.data, registry, findings),
        phantom=drawn,
        selection=selection_of(config),
        method=config.method,
    )


def selection_of(config: Any) -> Selection:
    """Which images of a prepared dataset a run trains and tests on."""
    region_images = config.data.region_images
    if region_images is None and config.registry is None:
        region_images = config.phantom.region_images
    return Selection(
        finding=config.finding,
        fold=config.data.fold,
        region_images=region_images,
        label_noise=config.data.label_noise,
        seed=config.data.seed,
    )


def _phantom_options(config: Any) -> phantom.PhantomOptions:
    if config.scale == "paper":
        raise ValueError(
            "the paper's recipe needs a registry: --config.registry=DIR "
            "(the phantom is for laptop scale)"
        )
    if config.finding not in fractures.SITES:
        raise ValueError(
            f"finding={config.finding!r} is not in the phantom, which has "
            f"{fractures.SITES}; for your own data give --config.registry=DIR"
        )
    fields, levels = config.phantom, phantom.DIFFICULTIES
    if fields.difficulty not in levels:
        raise ValueError(
            f"phantom.difficulty={fields.difficulty!r}: use one of {sorted(levels)}"
        )
    return phantom.PhantomOptions(
        images=fields.images,
        seed=fields.seed,
        height=fields.height,
        conspicuity=levels[fields.difficulty],
        prevalence=fields.prevalence,
        boxed_share=fields.boxed_share,
    )


def _build_options(
    fields: Any, registry: Path, findings: tuple[str, ...]
) -> BuildOptions:
    data_dir = Path(fields.dir)
    return BuildOptions(
        registry=registry,
        data_dir=data_dir,
        key_file=_path(fields.key_file) or data_dir / "pseudonym.key",
        findings=findings,
        side=fields.side,
        bits=fields.bits,
        seed=fields.seed,
        allow=tuple(fields.allow),
        max_bad_share=fields.max_bad_share,
        parts_file=_path(fields.parts_file),
        reading=ReadingOptions(
            keep_non_acute=fields.keep_non_acute,
            point_radius=fields.point_radius,
            reports=ReportOptions(
                read=fields.reports.read,
                languages=tuple(fields.reports.languages),
                rules=_path(fields.reports.rules),
                labels=_path(fields.reports.labels),
                silence=fields.reports.silence,
            ),
        ),
        workers=fields.workers,
        timeout_s=fields.timeout_s,
        memory_gib=fields.memory_gib,
        beam=tuple(shlex.split(fields.beam)) or None,
    )


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
