"""Rows of one patient: what stands in one row and counts for others.

Tables of blocks and merged cells have the codes in the first row of a study, and the
others seem to have none. A code describes an encounter, so what it says of one image
holds for all of that day.
"""

import heapq


class Siblings:
    """The rows that state a finding, or may, by patient and day."""

    def __init__(self):
        # (finding, patient) -> day -> its first two rows: one may be the asking row
        self._of_day: dict[tuple[str, str], dict[int, list[int]]] = {}
        # -> (day, row) of the earliest two; undated ones come first
        self._earliest: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def add(self, finding: str, row: int, patient: str, day: int) -> None:
        """Notes a row that does not deny the finding.

        Args:
            finding: that it states, or may.
            row: of the table.
            patient: "" is nobody, and has no other rows.
            day: since the patient's first study; -1 undated.
        """
        if patient:
            key = finding, patient
            rows = self._of_day.setdefault(key, {}).setdefault(day, [])
            rows += [row] if len(rows) < 2 else []
            earliest = self._earliest.get(key, [])
            self._earliest[key] = heapq.nsmallest(2, [*earliest, (day, row)])

    def find(
        self, finding: str, row: int, patient: str, day: int, *, has_codes: bool
    ) -> int:
        """The row that casts doubt on this one's silence; 0 for none.

        That is one of the same day. For a row without any code it is an earlier one as
        well, since a fracture is seen for weeks, or any where a date is missing.

        Args:
            finding: that this row's codes do not name.
            row: of the table.
            patient: of the row.
            day: of the row.
            has_codes: whether the row has codes of something else.
        """
        key = finding, patient
        same_day = self._of_day.get(key, {}).get(day, []) if day >= 0 else []
        rows = [other for other in same_day if other != row]
        if not rows and not has_codes:
            rows = [
                other
                for first, other in self._earliest.get(key, ())
                if other != row and (first <= day or day < 0)
            ]
        return rows[0] if rows else 0
