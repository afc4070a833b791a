"""A drawn film as a DICOM file, in the variety of a hospital archive.

The seed decides transfer syntax, photometric interpretation, bits stored, windows or a
VOI LUT, rescale, spacing tags, SOP class and the orientation of the stored pixels. None
of them depends on the diagnosis. Names, dates and identifiers are visibly made up.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom import dataset, uid

from data.phantom import anatomy

ENCODING = 5  # stream of random numbers, after those of anatomy.py

# Weights keep the mean cost low: JPEG 2000 and RLE take several times the others.
SYNTAXES = (
    (uid.ExplicitVRLittleEndian, 0.50),
    (uid.JPEGLSLossless, 0.36),
    (uid.JPEG2000Lossless, 0.08),
    (uid.RLELossless, 0.06),
)
# PatientOrientation -> how the upright film was turned before it was stored.
ORIENTATIONS = ((("L", "F"), 0.90), (("R", "F"), 0.06), (("R", "H"), 0.04))
_RESCALES = ((1.0, -1024.0), (0.5, 0.0), (2.0, 100.0))


def write(
    path: Path, drawing: anatomy.Drawing, rng: np.random.Generator, ids: Mapping
) -> dict[str, np.ndarray]:
    """Writes the film to `path`.

    Args:
        path: of the new file.
        drawing: the upright film.
        rng: the encoding's own generator.
        ids: patient_id, study_date (YYYYMMDD), entropy (strings that make the UIDs).

    Returns:
        site -> f64[N, 4], the boxes in the pixels as stored.
    """
    orientation = _pick(rng, ORIENTATIONS)
    stored, boxes = turn(drawing.pixels, drawing.boxes, orientation)
    d = _header(drawing, rng, ids)
    d.PatientOrientation = list(orientation)
    _pixels(d, stored, rng)
    syntax = _pick(rng, SYNTAXES)
    d.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    if syntax != uid.ExplicitVRLittleEndian:
        # a fixed encoder: others, where they are installed, write other bytes
        plugin = "pyjpegls" if syntax == uid.JPEGLSLossless else "pylibjpeg"
        d.compress(syntax, generate_instance_uid=False, encoding_plugin=plugin)
    d.save_as(path, enforce_file_format=True)
    return boxes


def turn(pixels: np.ndarray, boxes: Mapping, orientation: tuple[str, str]):
    """Upright pixels [H, W] and boxes (x0, y0, x1, y1), as an orientation stores them.

    The first letter is the direction of growing columns, the second that of growing
    rows; upright is (L, F). Each turn is its own inverse.
    """
    height, width = pixels.shape
    turned = {site: box.copy() for site, box in boxes.items()}
    if orientation[0] == "R":
        pixels = pixels[:, ::-1]
        for box in turned.values():
            box[:, [0, 2]] = width - box[:, [2, 0]]
    if orientation[1] == "H":
        pixels = pixels[::-1]
        for box in turned.values():
            box[:, [1, 3]] = height - box[:, [3, 1]]
    return np.ascontiguousarray(pixels), turned


def _pick(rng: np.random.Generator, table):
    """Draws one value out of (value, weight) pairs."""
    weights = np.array([weight for _, weight in table])
    return table[int(rng.choice(len(table), p=weights / weights.sum()))][0]


def _header(drawing: anatomy.Drawing, rng, ids: Mapping) -> pydicom.Dataset:
    """Patient, study, equipment and geometry of a digital or computed radiograph."""
    digital = rng.random() < 0.6
    kind = "DigitalXRayImageStorageForPresentation"
    d = pydicom.Dataset()
    d.file_meta = dataset.FileMetaDataset()
    d.SpecificCharacterSet = "ISO_IR 100"
    d.ImageType = ["ORIGINAL", "PRIMARY"]
    d.SOPClassUID = (
        getattr(uid, kind) if digital else uid.ComputedRadiographyImageStorage
    )
    d.SOPInstanceUID = uid.generate_uid(entropy_srcs=[*ids["entropy"], "instance"])
    d.StudyInstanceUID = uid.generate_uid(entropy_srcs=[*ids["entropy"], "study"])
    d.SeriesInstanceUID = uid.generate_uid(entropy_srcs=[*ids["entropy"], "series"])
    d.StudyDate = d.SeriesDate = d.AcquisitionDate = d.ContentDate = ids["study_date"]
    d.StudyTime = d.ContentTime = f"{int(rng.integers(24)):02d}0000"
    d.AccessionNumber = f"A{ids['patient_id']}"
    d.Modality = "DX" if digital else "CR"
    d.Manufacturer = "PHANTOM"
    d.ReferringPhysicianName = "PHANTOM^DOCTOR"
    d.PatientName = f"PHANTOM^{ids['patient_id'].removeprefix('PHANTOM')}"
    d.PatientID = ids["patient_id"]
    d.PatientBirthDate = f"{int(ids['study_date'][:4]) - drawing.age}0101"
    d.PatientSex = drawing.sex
    d.PatientAge = f"{drawing.age:03d}Y"
    d.StudyID = d.SeriesNumber = d.InstanceNumber = "1"
    d.BodyPartExamined = "CHEST"
    d.ViewPosition = drawing.view
    d.BurnedInAnnotation = "NO"
    spacing = [f"{drawing.spacing:.5f}"] * 2
    d.ImagerPixelSpacing = spacing
    if not digital and rng.random() < 0.6:
        d.PixelSpacing = spacing
    if digital:
        d.PresentationIntentType = "FOR PRESENTATION"
        d.ImageLaterality = "U"
        d.PixelIntensityRelationship = "LOG"
        d.PixelIntensityRelationshipSign = 1
        d.LossyImageCompression = "00"
    return d


def _pixels(d: pydicom.Dataset, pixels: np.ndarray, rng) -> None:
    """Sets the stored values, and all fields that say how to show them, bone bright."""
    digital = d.Modality == "DX"
    bits = int(rng.choice([10, 12, 14], p=[0.2, 0.55, 0.25]))
    inverse = rng.random() < 0.35
    top = 2**bits - 1
    low, high = top * rng.uniform(0.0, 0.08), top * rng.uniform(0.9, 1.0)
    stored = np.rint(low + (high - low) * pixels).astype(np.uint16)
    if inverse:
        stored = top - stored
        low, high = top - high, top - low
    d.SamplesPerPixel, d.PixelRepresentation = 1, 0
    d.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    d.Rows, d.Columns = stored.shape
    d.BitsAllocated, d.BitsStored, d.HighBit = 16, bits, bits - 1
    d.PixelData = stored.astype("<u2").tobytes()
    if digital:
        d.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    slope, intercept = 1.0, 0.0
    table = rng.random() < 0.08
    if not digital and not table and rng.random() < 0.5:
        slope, intercept = _RESCALES[int(rng.integers(len(_RESCALES)))]
    if digital or (slope, intercept) != (1.0, 0.0):
        d.RescaleSlope, d.RescaleIntercept, d.RescaleType = slope, intercept, "US"
    if table:
        d.VOILUTSequence = [_lookup(top, low, high)]
        return
    low, high = slope * low + intercept, slope * high + intercept
    centre, width = (low + high) / 2, (high - low) * rng.uniform(0.96, 1.1)
    several = rng.random() < 0.25  # the first is the one to use
    narrow = [f"{centre:.1f}", f"{width:.1f}"], [f"{centre:.1f}", f"{width / 2:.1f}"]
    d.WindowCenter = [narrow[0][0], narrow[1][0]] if several else narrow[0][0]
    d.WindowWidth = [narrow[0][1], narrow[1][1]] if several else narrow[0][1]
    if several:
        d.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]


def _lookup(top: int, low: float, high: float) -> pydicom.Dataset:
    """A VOI LUT over all stored values: a mild S from `low` to `high`, 16 bits out."""
    share = np.clip((np.arange(top + 1) - low) / (high - low), 0, 1)
    curve = 0.6 * share + 0.4 * share**2 * (3 - 2 * share)
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [top + 1, 0, 16])
    item.LUTExplanation = "NORMAL"
    item.add_new("LUTData", "OW", np.rint(curve * 65535).astype("<u2").tobytes())
    return item
