"""Real radiographs: each file against an independent reading, named in the table.

The files are public samples, not part of this repository. Set AALS_DICOM_DIR to the
folder that holds them.
"""

import os
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from data.cxr_registry.dicom import reader

FOLDER = Path(os.environ.get("AALS_DICOM_DIR", "/nonexistent"))
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="set AALS_DICOM_DIR to the folder of sample radiographs"
)


def window_by_highdicom(path: Path) -> np.ndarray:
    image = highdicom.imread(path)
    return image.get_frame(1, apply_voi_transform=None, dtype=np.float64)


def range_by_highdicom(path: Path) -> np.ndarray:
    """Modality values and polarity by highdicom, then the image's own range."""
    image = highdicom.imread(path)
    shown = image.get_frame(1, apply_voi_transform=False, dtype=np.float64)
    return (shown - shown.min()) / (shown.max() - shown.min())


def window_by_hand(path: Path) -> np.ndarray:
    """The file has no meta information, which highdicom needs: its last bytes are
    440 x 440 words of 10 bits; LINEAR, c = 550, w = 1024; MONOCHROME1."""
    words = np.frombuffer(path.read_bytes()[-2 * 440 * 440 :], "<u2").reshape(440, 440)
    share = (words - (550 - 0.5)) / (1024 - 1) + 0.5
    return 1 - np.clip(share, 0, 1)


def table_by_hand(path: Path) -> np.ndarray:
    """highdicom refuses the descriptor; the first VOI table, entry by entry."""
    ds = pydicom.dcmread(path)
    count, first, bits = ds.VOILUTSequence[0].LUTDescriptor
    entries = np.asarray(ds.VOILUTSequence[0].LUTData)
    if entries.dtype != np.int64:
        entries = np.frombuffer(ds.VOILUTSequence[0].LUTData, "<u2")
    at = np.clip(ds.pixel_array.astype(np.int64) - first, 0, (count or 65536) - 1)
    return entries[at] / (2**bits - 1)


# File -> reading, tolerance. The film of RG2_JPLY is that of RG2_JLSL, with loss.
READINGS = {
    "966_fixed.dcm": window_by_highdicom,
    "CR-MONO1-10-chest.dcm": window_by_hand,
    "CR-ModalitySequenceLUT.dcm": range_by_highdicom,  # it has no window
    "Fake_MONOHR1.dcm": range_by_highdicom,  # it has no window
    "GH133.dcm": table_by_hand,
    "JPEG2KLossless_1s_1f_u_16_16.dcm": range_by_highdicom,  # its window misses it
    "RG1_J2KI.dcm": window_by_highdicom,
    "RG1_JLSN.dcm": window_by_highdicom,
    "RG1_UNCR.dcm": window_by_highdicom,
    "RG2_JLSL.dcm": window_by_highdicom,
    "RG2_JPLL.dcm": window_by_highdicom,
    "RG3_J2KR.dcm": window_by_highdicom,
    "vlut_04.dcm": window_by_highdicom,
}


def upright(shown: np.ndarray, path: Path) -> np.ndarray:
    """Turned by Patient Orientation, by hand for what occurs in the files."""
    letters = pydicom.dcmread(path, force=True, stop_before_pixels=True).get(
        "PatientOrientation"
    )
    rows, columns = [str(letter)[:1] for letter in letters or ("", "")]
    if rows in ("H", "F"):
        shown, rows, columns = shown.T, columns, rows
    if columns == "H":
        shown = shown[::-1]
    return shown[:, ::-1] if rows == "R" else shown


@pytest.mark.parametrize("name", READINGS)
def test_a_real_radiograph_equals_an_independent_reading(name):
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{name} is not in AALS_DICOM_DIR")
    ours = reader.read_radiograph(path, modalities=None)
    theirs = upright(READINGS[name](path), path)
    np.testing.assert_allclose(ours.pixels, theirs, atol=1e-6)
    assert reader.stored_shape(path) == ours.stored_shape


def test_12_bit_jpeg_is_close_to_the_lossless_film():
    path = FOLDER / "RG2_JPLY.dcm"
    if not path.exists():
        pytest.skip("RG2_JPLY.dcm is not in AALS_DICOM_DIR")
    ours = reader.read_radiograph(path)
    lossless = reader.read_radiograph(FOLDER / "RG2_JLSL.dcm")
    assert np.abs(ours.pixels - lossless.pixels).mean() < 0.005


def test_every_file_of_the_folder_is_in_the_table():
    known = {*READINGS, "RG2_JPLY.dcm"}
    others = {path.name for path in FOLDER.glob("*.dcm")} - known
    for name in sorted(others):  # read or refused in a line
        try:
            reader.read_radiograph(FOLDER / name, modalities=None)
        except reader.UnreadableRadiograph as error:
            assert "\n" not in str(error)
