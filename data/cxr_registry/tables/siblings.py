"""Rows of one patient: codes that stand in one row and count for others.

Tables of blocks and merged cells have the codes in the first row of a study, and the
others seem to have none. A code describes an encounter, so what it says of one image
holds for all of that day.
"""


class Siblings:
    """The rows whose codes name a finding, or may, by patient and day."""

    def __init__(self):
        self._of_day: dict[tuple[str, str, int], int] = {}  # -> its first row
        # finding, patient -> day and row of the earliest; undated ones count as first
        self._earliest: dict[tuple[str, str], tuple[int, int]] = {}

    def add(self, finding: str, row: int, patient: str, day: int) -> None:
        """Notes a row whose codes do not deny the finding.

        Args:
            finding: that they name.
            row: of the table.
            patient: "" is nobody, and has no other rows.
            day: since the patient's first study; -1 undated.
        """
        if patient:
            self._of_day.setdefault((finding, patient, day), row)
            key = finding, patient
            self._earliest[key] = min(self._earliest.get(key, (day, row)), (day, row))

    def find(
        self, finding: str, row: int, patient: str, day: int, has_codes: bool
    ) -> int:
        """The row whose codes cast doubt on this one's silence; 0 for none.

        That is one of the same day. For a row without any code it is an earlier one as
        well, since a fracture is seen for weeks, or any where a date is missing.

        Args:
            finding: that this row's codes do not name.
            row: of the table.
            patient: of the row.
            day: of the row.
            has_codes: whether the row has codes of something else.
        """
        same_day = self._of_day.get((finding, patient, day), 0) if day >= 0 else 0
        if same_day or has_codes:
            return same_day
        first, other = self._earliest.get((finding, patient), (day + 1, 0))
        return other if other != row and (first <= day or day < 0) else 0
