"""Columns that nothing reads, and that tell classes of lesions apart all the same.

Detections of several classes that are scored as one count as false by the hundred, and
nobody sees it in the numbers. So a table is refused whose places are of several classes
by a column that no name gives away: `what`, `kind`, `pred_class`. Columns of other
kinds (a side, a view, a number, a status) are nobody's business here.
"""

import re
from collections.abc import Collection, Mapping, Sequence

from aals_jax.evaluation import groups
from data.cxr_registry.tables import patients
from data.cxr_registry.tables.formats import Table

MOST = 50  # values of a column of classes
_TWICE = 2  # places that each value has on average
_WORDS = frozenset(
    groups.listed(
        "class classes cls label labels category categories type kind diagnosis "
        "pathology abnormality disease finding findings klasse kategorie befund typ "
        "art classe catégorie categorie clase categoria categoría tipo "
        "类别 類別 类型 類型"
    )
)
_OTHERWISE = frozenset(  # words that make such a name one of something else
    groups.listed(
        "no nr num number count index score prob probability confidence conf logit "
        "version file image device scanner model system reader view study exam"
    )
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.0+)?")
_YES_NO = frozenset(groups.listed("0 1 0.0 1.0 true false yes no y n t f"))


def of_no_name(
    table: Table,
    unread: Sequence[str],
    *,
    known: Collection[str] = (),
    by_name: bool = True,
) -> dict[str, str]:
    """Columns that tell classes apart, and how that is known.

    Args:
        table: of lesions or detections without a column of categories.
        unread: its columns that nothing reads.
        known: names of categories that are known from elsewhere: --category, and the
            other table's.
        by_name: a column's name is enough; of lesions it is not, whose type may be
            how they look.

    Returns:
        Column -> a clause for a message, without any cell.
    """
    known_as = {name.casefold() for name in known}
    found = {}
    for column in unread:
        values = _values(table, column)
        if values and (why := _why(column, values, known_as, by_name)):
            found[column] = why
    return found


def in_both(
    tables: Sequence[tuple[Table, Sequence[str]]],
) -> dict[str, str]:
    """Columns of one name that nothing reads and that split two tables alike.

    Args:
        tables: each with its columns that nothing reads.

    Returns:
        As of `of_no_name`, by the column's name in the last table.
    """
    (one, ours), (other, theirs) = tables
    own = {column.casefold(): column for column in ours}
    found = {}
    for column in theirs:
        twin = own.get(column.casefold())
        if twin is None or (groups.is_described(column) and not _is_class(column)):
            continue
        shared = set(_values(one, twin)) & set(_values(other, column))
        if len(shared - _YES_NO) > 1 and not all(map(_NUMBER.fullmatch, shared)):
            found[column] = f"the column splits {one.name}, too"
    return found


def _values(table: Table, column: str) -> dict[str, int]:
    """Folded values and their rows, where they can be classes; else none."""
    values: dict[str, int] = {}
    for _, cells in table.numbered():
        cell = cells[column].casefold()
        if not patients.is_missing(cell):
            values[cell] = values.get(cell, 0) + 1
    many = len(values) > min(MOST, sum(values.values()) / _TWICE)
    is_alone = len(values) < 2
    return {} if many or is_alone or groups.names_somebody(values) else values


def _why(
    column: str, values: Mapping[str, int], known: Collection[str], by_name: bool
) -> str:
    named = {value for value in values if not _NUMBER.fullmatch(value)} - _YES_NO
    if named & set(known):
        return "a category that is scored is among its values"
    if by_name and _is_class(column):
        return "its name speaks of classes"
    is_other = groups.is_described(column) or groups.is_naming(column)
    if by_name and len(known) > 1 and len(named) > 1 and not is_other:
        return "the ground truth has several categories"
    return ""


def _is_class(column: str) -> bool:
    """Whether a column's name speaks of classes of lesions.

    >>> [_is_class(name) for name in ("pred_class", "Label2", "kind", "class_score")]
    [True, True, True, False]
    >>> [_is_class(name) for name in ("side", "finding_no", "scanner type")]
    [False, False, False]
    """
    words = groups.words_of(column)
    joined = "".join(words)
    glued = re.search(r"(?:class|cls|label|category)(?:id|name)?$", joined)
    says = bool(set(words) & _WORDS or joined in _WORDS or glued)
    return says and not set(words) & _OTHERWISE
