"""Plain sentences for what a run's numbers forbid to overlook: numbers in, words out.

Each function returns "" where there is nothing to say. The limits are ours; they are
constants here, and docs/measuring.md gives their reasons.
"""

from collections.abc import Mapping, Sequence

from aals_jax.report import wording

CHANCE = 0.5  # AUROC of scores that know nothing
CEILING = 0.98  # AUROC of stage 1 from which on P has next to nothing to add
LEAST_LOCALISED = 0.5  # share of images whose peak lies in a box
LEAST_LIFT = 0.02  # of a target above the teacher's map, in probability
MOST_DEAD = 0.9  # share of P whose peak lies below t

Entry = Mapping[str, object]  # value, low, high (None: there is none), reason, n_images


def stage_one(auroc: Entry) -> str:
    """Whether stage 1 learnt anything that the test set shows.

    Args:
      auroc: of the model of stage 1 on the test set.
    """
    if reason := _why_not_learnt(auroc):
        return f"Stage 1 did not learn: {reason}."
    if not _has_interval(auroc):
        why = auroc.get("reason") or "no interval was recorded"
        return f"Whether stage 1 learnt is unknown: test AUROC has no interval, {why}."
    return ""


def head_room(
    *,
    auroc: Entry,
    in_box: Sequence[Entry],
    images: str,
    dead_share: Sequence[Entry] = (),
    lift: Entry | None = None,
    sharpens: bool,
) -> str:
    """Whether the teacher's map leaves anything to learn from on P, and why not.

    Args:
      auroc: of the model of stage 1 on the test set.
      in_box: share of images whose peak lies in a box, of the teacher at each moment
        it was looked at. The best one counts.
      images: words for these images.
      dead_share: share of P whose peak lies below t, likewise; the lowest one counts.
      lift: the largest lift of a target above the teacher's map in stage 2; None for a
        method that has none.
      sharpens: whether the method does; dead_share and lift are about sharpening, and
        not read otherwise.
    """
    reasons = [
        "stage 1 did not learn" if _why_not_learnt(auroc) else "",
        _ceiling(auroc),
        _misplaced(in_box, images),
    ]
    if sharpens:
        reasons += [_unlifted(lift), _dead(dead_share)]
    said = "; ".join(reason for reason in reasons if reason)
    if not said:
        return ""
    opening = "Sharpening has nothing to sharpen" if sharpens else "P has little to add"
    return f"{opening}: {said}."


def _why_not_learnt(auroc: Entry) -> str:
    value, low, high = (auroc.get(end) for end in ("value", "low", "high"))
    if not (wording.is_number(low) and wording.is_number(high)) or low > CHANCE:
        return ""
    relation = "includes chance" if high >= CHANCE else "lies below chance"
    return f"test AUROC {value:.2f} [{low:.2f}, {high:.2f}] {relation}"


def _ceiling(auroc: Entry) -> str:
    if not _known([auroc]) or _value(auroc) < CEILING:
        return ""
    return (
        f"stage 1 is at its ceiling, a test AUROC of {_value(auroc):.3f} (from "
        f"{CEILING:g} on, hardly anything is left to gain)"
    )


def _misplaced(in_box: Sequence[Entry], images: str) -> str:
    best = max(_known(in_box), key=_value, default=None)
    if best is None or _value(best) >= LEAST_LOCALISED:
        return ""
    return (
        f"the teacher's peak lies in a box in {_share(best)} {images} at best, which "
        f"is below {wording.percent(LEAST_LOCALISED)}"
    )


def _unlifted(lift: Entry | None) -> str:
    if lift is None or not _known([lift]) or _value(lift) >= LEAST_LIFT:
        return ""
    return (
        f"no target is lifted by more than {wording.number(lift['value'])} above the "
        f"teacher's map, which is below {LEAST_LIFT:g}"
    )


def _dead(dead_share: Sequence[Entry]) -> str:
    best = min(_known(dead_share), key=_value, default=None)
    if best is None or _value(best) <= MOST_DEAD:
        return ""
    return (
        f"the peak lies below t in {_share(best)} images of P at least, which is above "
        f"{wording.percent(MOST_DEAD)}"
    )


def _share(entry: Entry) -> str:
    """`32.0 % [25.1 %, 40.2 %] of 240`."""
    ends = [wording.percent(entry[end]) for end in ("low", "high")]
    interval = f" [{', '.join(ends)}]" if _has_interval(entry) else ""
    count = wording.number(entry.get("n_images"), missing="?")
    return f"{wording.percent(entry['value'])}{interval} of {count}"


def _known(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if wording.is_number(entry.get("value"))]


def _has_interval(entry: Entry) -> bool:
    return all(wording.is_number(entry.get(end)) for end in ("low", "high"))


def _value(entry: Entry) -> float:
    value = entry["value"]
    assert wording.is_number(value)
    return float(value)
