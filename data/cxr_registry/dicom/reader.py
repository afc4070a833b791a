"""One radiograph from a file: upright, 0 = air, 1 = bone, and without its patient.

Only header fields of a whitelist are read, so no other one enters the process. No
message names a file, a patient or a value of the header: the caller adds the row.
"""

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.cxr_registry.dicom import (
    body_parts,
    codestream,
    decoding,
    grayscale,
    headers,
    views,
)

MAX_BYTES = 512 << 20  # of the file; a 16-bit 8k x 8k detector stores 128 MiB
VIEWS, LATERALS, FRONTALS = views.VIEWS, views.LATERALS, views.FRONTALS
# View codes, of SNOMED CT and of the SNOMED RT before it (PS3.16 CID 4010).
_VIEW_CODES = {
    "399348003": "AP", "R-10206": "AP", "272479007": "PA", "R-10214": "PA",
    "R-40888": "PA", "399173006": "LL", "R-10236": "LL", "399198007": "RL",
    "R-10232": "RL", "399067008": "LATERAL", "R-102CD": "LATERAL",
}  # fmt: skip

RADIOGRAPHS, USED_MODALITIES = headers.RADIOGRAPHS, headers.USED_MODALITIES
UnreadableRadiograph = headers.UnreadableRadiograph


@dataclasses.dataclass(frozen=True, kw_only=True)
class Radiograph:
    """An upright image and the few header fields that may leave the reader."""

    pixels: np.ndarray  # f32[H, W] in [0, 1], 0 = air, 1 = bone, upright
    stored_shape: tuple[int, int]  # rows, columns in the file
    stored_to_upright: np.ndarray  # f64[2, 3], of pixel edges (x, y, 1)
    spacing_mm: float | None  # side of a pixel; None: unknown or not square
    view: str  # "PA", "AP", "LL", ...; "" unknown
    is_lateral: bool  # by its view, or by rows that run from front to back
    sides_known: bool  # the header says that upright rows run to the patient's left
    views_differ: bool  # a frontal view is stated, and the words name a lateral one
    body_part: str  # a term of body_parts.TERMS; "" unknown
    modality: str  # "CR", "DX", ...; "" for a PNG or JPEG
    burned_in: bool | None  # the header's burned-in annotation flag; None unknown
    source: str  # of the brightness, see grayscale.BrightnessTable
    is_dicom: bool  # else PNG or JPEG

    def orient(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes f64[N, 4] (x0, y0, x1, y1) from stored to upright pixels."""
        return map_boxes(self.stored_to_upright, boxes)


class Square(NamedTuple):
    """A radiograph padded to a square of the configured side."""

    pixels: np.ndarray  # u8 or u16 [side, side]
    content: tuple[float, float, float, float]  # y0, x0, y1, x1: film, in [0, 1]
    affine: np.ndarray  # f64[2, 3], upright pixels -> pixels of the square


def modalities(allow: Collection[str]) -> frozenset[str]:
    """DICOM modalities to accept, those in use too where the check modality may pass.

    Args:
        allow: checks that may pass.
    """
    return RADIOGRAPHS | (USED_MODALITIES if "modality" in allow else frozenset())


def read_radiograph(
    path: Path, *, modalities: Collection[str] | None = RADIOGRAPHS
) -> Radiograph:
    """Reads a DICOM, PNG or JPEG file, whatever its name says.

    Args:
        path: the file.
        modalities: DICOM modalities to accept beside an empty one; None accepts any.

    Returns:
        The upright radiograph.

    Raises:
        UnreadableRadiograph: with the reason and the remedy, and no patient's data.
    """
    data = _read_bytes(path)
    if data.startswith((codestream.PNG, codestream.JPEG)):
        return _read_picture(data)
    header = headers.read_header(data)
    stored = decoding.decode(header, modalities)
    with headers.quiet_pydicom():  # a field is converted when it is asked for
        try:
            return _show(header, stored)
        except UnreadableRadiograph:
            raise
        except Exception as error:  # a hostile field raises anything, and quotes itself
            raise UnreadableRadiograph(
                "has a malformed lookup table, window or other field "
                f"({type(error).__name__}); export it again"
            ) from None


def _show(header: Any, stored: np.ndarray) -> Radiograph:
    table = grayscale.brightness_table(header, stored)
    brightness = grayscale.apply_table(table, stored)
    pixels, affine = _turn_upright(brightness, header.get("PatientOrientation"))
    flag = _token(header.get("BurnedInAnnotation"))
    described = _described_view(header)
    view = _stated_view(header) or described
    views_differ = view in FRONTALS and described in LATERALS
    directions = _directions(header.get("PatientOrientation"))
    return Radiograph(
        pixels=pixels,
        stored_shape=(stored.shape[0], stored.shape[1]),
        stored_to_upright=affine,
        spacing_mm=_spacing(header),
        view=view,
        is_lateral=view in LATERALS or not {*"AP"}.isdisjoint(directions),
        sides_known=view not in LATERALS
        and not views_differ
        and _are_frontal(directions),
        views_differ=views_differ,
        body_part=body_parts.known(str(header.get("BodyPartExamined") or "")),
        modality=_token(header.get("Modality")),
        burned_in={"YES": True, "NO": False}.get(flag),
        source=table.source,
        is_dicom=True,
    )


def stored_shape(path: Path) -> tuple[int, int]:
    """Rows and columns of the stored image, without decoding it."""
    data = _read_bytes(path)
    if data.startswith((codestream.PNG, codestream.JPEG)):
        return _picture_size(data)
    return headers.size(headers.read_header(data))


def stored_to_upright(path: Path) -> tuple[tuple[int, int], np.ndarray]:
    """Rows and columns of the stored image, and the way of `Radiograph` from stored to
    upright pixels, f64[2, 3]; nothing is decoded."""
    data = _read_bytes(path)
    if data.startswith((codestream.PNG, codestream.JPEG)):
        return _picture_size(data), np.eye(2, 3)
    header = headers.read_header(data)
    shape = headers.size(header)
    with headers.quiet_pydicom():
        orientation = header.get("PatientOrientation")
        blank = np.broadcast_to(np.zeros((), np.uint8), shape)
        return shape, _turn_upright(blank, orientation)[1]


def to_square(pixels: np.ndarray, side: int, *, bits: int = 8) -> Square:
    """Resizes so that the longer side fits, then pads with air to a centred square.

    The film is resized before it is padded, so no padding bleeds into its border. Each
    axis has its own factor, which rounds its length to whole pixels of the square.

    Args:
        pixels: f32[H, W] in [0, 1].
        side: of the square, in pixels.
        bits: per output pixel, 8 or 16.
    """
    rows, columns = pixels.shape
    scale = side / max(rows, columns)
    height = max(1, round(rows * scale))
    width = max(1, round(columns * scale))
    # area averaging is for shrinking; it enlarges by repeating pixels
    how = cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, (width, height), interpolation=how)
    top, left = (side - height) // 2, (side - width) // 2
    dtype = {8: np.uint8, 16: np.uint16}[bits]
    square = np.zeros((side, side), dtype)
    levels = np.clip(np.rint(resized * ((1 << bits) - 1)), 0, (1 << bits) - 1)
    square[top : top + height, left : left + width] = levels.astype(dtype)
    content = (top / side, left / side, (top + height) / side, (left + width) / side)
    affine = np.array([[width / columns, 0, left], [0, height / rows, top]])
    return Square(square, content, affine)


def map_boxes(affine: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes f64[N, 4] (x0, y0, x1, y1) through an affine map of quarter turns."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 2, 2)
    moved = corners @ affine[:, :2].T + affine[:, 2]
    return np.concatenate([moved.min(1), moved.max(1)], axis=1)


def inverse(affine: np.ndarray) -> np.ndarray:
    """f64[2, 3], the way back of an affine map f64[2, 3]."""
    return np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]


def composed(*affines: np.ndarray) -> np.ndarray:
    """f64[2, 3], what affine maps f64[2, 3] do one after the other, the first first."""
    whole = np.eye(3)
    for affine in affines:
        whole = np.vstack([affine, [0, 0, 1]]) @ whole
    return whole[:2]


def shrunk(pixels: np.ndarray, *, side: int) -> np.ndarray:
    """An image f32[H, W] in [0, 1] as u8, its longer side at most `side` pixels."""
    rows, columns = pixels.shape
    scale = min(1.0, side / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8)


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnreadableRadiograph(
                f"is {size >> 20} MiB, over the limit of {MAX_BYTES >> 20} MiB; "
                "export one image per file"
            )
        return path.read_bytes()
    except OSError as error:  # its own text holds the path
        raise UnreadableRadiograph(
            f"cannot be opened ({type(error).__name__}); check the path and its rights"
        ) from None


def _picture_size(data: bytes) -> tuple[int, int]:
    return headers.check_size(codestream.image_shape(data))


def _read_picture(data: bytes) -> Radiograph:
    _picture_size(data)
    try:
        stored = cv2.imdecode(
            np.frombuffer(data, np.uint8),
            cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION,
        )
    except cv2.error:
        stored = None
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        raise UnreadableRadiograph("is a damaged PNG or JPEG file; export it again")
    if stored.ndim == 3:
        stored = decoding.only_grey(stored[..., :3])
    table = grayscale.picture_table(stored)
    return Radiograph(
        pixels=grayscale.apply_table(table, stored),
        stored_shape=(stored.shape[0], stored.shape[1]),
        stored_to_upright=np.eye(2, 3),
        spacing_mm=None,
        view="",
        is_lateral=False,
        sides_known=False,
        views_differ=False,
        body_part="",
        modality="",
        burned_in=None,
        source=table.source,
        is_dicom=False,
    )


def _turn_upright(image: np.ndarray, orientation: Any) -> tuple[np.ndarray, np.ndarray]:
    """Turns rows to the patient's left and columns to the foot, by the header.

    In a lateral view rows run along A-P and are left as they are.

    Returns:
        The image, and the map f64[2, 3] from stored to upright pixels.
    """
    affine = np.eye(3)
    along_row, along_column = _directions(orientation)
    if along_row in "HF" and along_column not in "HF":
        image = image.T
        along_row, along_column = along_column, along_row
        affine = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    rows, columns = image.shape
    if along_column == "H":
        image = image[::-1]
        affine = np.array([[1, 0, 0], [0, -1, rows], [0, 0, 1.0]]) @ affine
    if along_row == "R":
        image = image[:, ::-1]
        affine = np.array([[-1, 0, columns], [0, 1, 0], [0, 0, 1.0]]) @ affine
    return np.ascontiguousarray(image), affine[:2]


def _are_frontal(directions: tuple[str, str]) -> bool:
    """Whether one direction is left or right, and the other one head or foot."""
    return sum(d in "LR" for d in directions) == sum(d in "HF" for d in directions) == 1


def _directions(orientation: Any) -> tuple[str, str]:
    """Main letters of Patient Orientation; "-" where it is missing or malformed."""
    if not isinstance(orientation, Sequence) or isinstance(orientation, str):
        return "-", "-"
    letters = [str(value)[:1] for value in orientation]
    if len(letters) != 2 or any(letter not in "LRAPHF" for letter in letters):
        return "-", "-"
    return (letters[0] or "-"), (letters[1] or "-")


def _stated_view(header: Any) -> str:
    """The term of View Position, else of the view's code; "" where none is known."""
    view = views.known(str(header.get("ViewPosition") or ""))
    if view:
        return view
    for item in header.get("ViewCodeSequence") or ():
        if view := _VIEW_CODES.get(str(item.get("CodeValue")), ""):
            return view
        break
    return ""


def _described_view(header: Any) -> str:
    """The term of the first description that names one view; "" where none does."""
    words = (views.known(str(header.get(name) or "")) for name in headers.DESCRIPTIONS)
    return next(filter(None, words), "")


def _spacing(header: Any) -> float | None:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        value = header.get(keyword)
        if not isinstance(value, Sequence) or len(value) != 2:
            continue
        try:
            rows, columns = (float(side or 0) for side in value)
        except ValueError:
            continue
        # a square pixel; nan and infinity fail this too
        if rows > 0 and abs(rows - columns) <= 0.01 * rows:
            return rows
    return None


def _token(value: Any) -> str:
    """A single code word of capitals; "" for anything else, which may be free text."""
    text = str(value or "").strip().upper()
    return text if re.fullmatch(r"[A-Z]{1,12}", text) else ""
