"""The film with findings drawn into it, as a Secondary Capture for any viewer."""

from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom import uid
from pydicom.sr.codedict import codes

from data.reading_room.source import MAKER, Making, date

SERIES = 9102  # number of the series


def make(
    source: pydicom.Dataset,
    image: np.ndarray,
    *,
    making: Making,
    version: str,
    frontal: bool,
) -> pydicom.Dataset:
    """A Secondary Capture in the film's study; it names the patient in its header.

    Args:
        source: of `source.read`.
        image: u8[h, w, 3], RGB, upright, with the words of overlay.BURNED_IN.
        making: how UIDs and dates are made.
        version: of the software.
        frontal: whether upright means that rows run to the patient's left.
    """
    instance = str(source.SOPInstanceUID)
    now = making.now(source)
    made: Any = hd.sc.SCImage.from_ref_dataset(
        source,
        pixel_array=np.ascontiguousarray(image),
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        series_instance_uid=making.uid("SC series", instance),
        series_number=SERIES,
        sop_instance_uid=making.uid("SC", instance),
        instance_number=1,
        manufacturer=MAKER,
        patient_orientation=("L", "F"),
        transfer_syntax_uid=uid.ExplicitVRLittleEndian,
        software_versions=version,
        series_description="RESEARCH ONLY: findings drawn into the film",
        content_date=now.date(),
        content_time=now.time(),
        specific_character_set="ISO_IR 192",
    )
    if not frontal:
        made.PatientOrientation = ""
    made.Laterality = ""
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "NO"  # words, and none that names the patient
    made.DerivationDescription = "Boxes and map of a neural network. Research only."
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = source.SOPClassUID
    item.ReferencedSOPInstanceUID = source.SOPInstanceUID
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    item.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept.from_code(purpose)]
    made.SourceImageSequence = [item]
    date(made, now)
    if "DateOfSecondaryCapture" in made:
        made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = (
            now.date(),
            now.time(),
        )
    if "FrameOfReferenceUID" in source:
        made.FrameOfReferenceUID = source.FrameOfReferenceUID
    return made
