"""Where a run's backbone starts: random, or a file of weights from elsewhere."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aals_jax.models import pretrained
from aals_jax.models.parts import BACKBONE
from aals_jax.runs import frozen_encoder, identity
from aals_jax.runtime import log, weights
from aals_jax.types import Variables

UNKNOWN = "not said"


def is_start(config: Any) -> bool:
    """Whether the run starts, or started, from weights from elsewhere.

    Args:
      config: of a run, or one made of its identity, which has the hash in the path's
        place; also of a run from before there was either.
    """
    model = config.model
    return bool(model.get("pretrained") or model.get("pretrained_sha256"))


def start(config: Any, variables: Variables) -> dict[str, Any]:
    """The variables with the file's weights in the backbone; logs which went where.

    Args:
      config: of the run; `model.pretrained` names the file.
      variables: params and batch_stats of the run's net; the head stays as it is.

    Raises:
      ValueError: the file can't be read, is another one than the config says, or does
        not fit.
    """
    backbone, report = placed(config, variables)
    tell(config, report)
    return {
        kind: {**variables[kind], BACKBONE: backbone[kind]}
        for kind in ("params", "batch_stats")
    }


def tell(config: Any, report: pretrained.Report) -> None:
    """Logs which array of the file went where, and where the file is from."""
    origin = describe(identity.of(config)["model"])
    assert origin is not None
    log.info("backbone from %s: %s", Path(config.model.pretrained).name, report)
    log.info(
        "backbone's source: %s; licence: %s; SHA-256 %s",
        origin["source"],
        origin["license"],
        origin["sha256"],
    )


def placed(
    config: Any, variables: Variables
) -> tuple[dict[str, Any], pretrained.Report]:
    """The backbone's variables with the file's weights, see `models.pretrained.place`.

    Args:
      config: of the run; `model.pretrained` names the file.
      variables: params and batch_stats of the run's net, or their shapes.

    Raises:
      ValueError: as of `start`.
    """
    path = Path(config.model.pretrained)
    arrays = weights.read(path)
    try:
        return pretrained.place(
            arrays,
            {kind: variables[kind][BACKBONE] for kind in ("params", "batch_stats")},
        )
    except ValueError as error:
        raise ValueError(f"model.pretrained={path}: {error}") from None


def describe(model: Mapping[str, Any]) -> dict[str, str] | None:
    """Which weights a run started from, for its result; None: random ones.

    Args:
      model: the section of an identity.
    """
    if not model.get("pretrained_sha256"):
        return None
    return {
        "sha256": model["pretrained_sha256"],
        "source": model["pretrained_source"] or UNKNOWN,
        "license": model["pretrained_license"] or UNKNOWN,
    }


def problems(config: Any) -> Iterator[str]:
    """What can't work in the fields of initial weights; the file is not read."""
    model = config.model
    if model.pretrained:
        try:
            weights.check_kind(Path(model.pretrained))
        except ValueError as error:
            yield f"model.pretrained={error}"
        return
    for name in ("sha256", "source", "license"):
        if model[f"pretrained_{name}"]:
            yield f"model.pretrained_{name}: model.pretrained names no file"


def notes(config: Any) -> list[str]:
    """What a page says of the start; mostly nothing.

    Args:
      config: of a run, or one made of its identity.
    """
    origin = describe(identity.of(config)["model"])
    if origin is None:
        return []
    how = (
        "The backbone is frozen, its weights were made elsewhere; all else started "
        "from random ones. "
        if identity.is_frozen(config)
        else "The backbone started from weights made elsewhere, all else from random "
        "ones. "
    )
    return [
        f"{how}Source: {origin['source']}; licence: {origin['license']}; SHA-256 "
        f"{origin['sha256']}."
    ]


def warnings(config: Any) -> Iterator[str]:
    """What is allowed and rarely meant, for the log."""
    model = config.model
    if is_start(config):
        origin = describe(identity.of(config)["model"])
        if origin is not None and UNKNOWN in (origin["source"], origin["license"]):
            yield (
                "source or licence of the initial weights is not said: "
                "--config.model.pretrained_source=TEXT and _license=TEXT keep it with "
                "the result"
            )
        yield from frozen_encoder.warnings(config)
    elif model.frozen_stages or model.frozen_norm:
        yield (
            "model.frozen_stages or frozen_norm without model.pretrained: what is "
            "frozen is random"
        )
