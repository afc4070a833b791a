"""Curve points as metrics.json and a CSV file hold them."""

from collections.abc import Mapping

from aals_jax.metrics import definitions, points

FILE = "curve_points.csv"

Curves = Mapping[str, Mapping[str, points.Points]]  # system -> curve -> columns


def as_lists(curves: Curves) -> dict[str, dict[str, dict[str, list[float | None]]]]:
    """The corners of all curves as plain lists; JSON has no infinity, so null is one:
    at the first point +inf, at the last -inf."""
    return {
        system: {
            curve: {
                column: [definitions.number(value) for value in values]
                for column, values in points.corners(table).items()
            }
            for curve, table in tables.items()
        }
        for system, tables in curves.items()
    }


def as_csv(curves: Curves) -> str:
    """Every point of every curve, a row each: system, curve, x, y, threshold."""
    lines = ["system,curve,x,y,threshold"]
    for system, tables in curves.items():
        for curve, table in tables.items():
            rows = zip(*(column.tolist() for column in table.values()), strict=True)
            lines += [f"{system},{curve},{x!r},{y!r},{t!r}" for x, y, t in rows]
    return "\n".join(lines) + "\n"
