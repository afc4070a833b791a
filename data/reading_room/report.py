"""Findings as DICOM: a Comprehensive 3D SR of template TID 1500 about one film.

A finding is a rectangle, written so that both families of viewers draw it: a polyline
of five points under "Image Region", with the geometric purpose "Bounded by".

Reference: DICOM PS3.16, TID 1500, 1410, 1501; PS3.3 C.18.6 for coordinates, whose
origin is the upper left corner of the upper left pixel, as here.
"""

import copy
from collections.abc import Mapping
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes

from data.reading_room import sides
from data.reading_room.source import MAKER, Making, date

SCHEME = "99AALS"  # of codes that no public scheme has
SERIES = 9101  # number of the series
_CLAVICLE = hd.sr.CodedConcept("51299004", "SCT", "Clavicle")
_RIB = hd.sr.CodedConcept("113197003", "SCT", "Rib")
# Finding -> its code, and that of its site.
_FINDINGS: Mapping[str, tuple[hd.sr.CodedConcept, hd.sr.CodedConcept]] = {
    "clavicle": (
        hd.sr.CodedConcept("58150001", "SCT", "Fracture of clavicle"), _CLAVICLE
    ),
    "rib": (hd.sr.CodedConcept("33737001", "SCT", "Fracture of rib"), _RIB),
}  # fmt: skip
_SIDES = {sides.LEFT: codes.SCT.Left, sides.RIGHT: codes.SCT.Right}
_SCORE = hd.sr.CodedConcept("SCORE", SCHEME, "Detection score, no probability")
_PROBABILITY = hd.sr.CodedConcept("PROBABILITY", SCHEME, "Calibrated probability")
_FLAG = hd.sr.CodedConcept("FLAG", SCHEME, "Film is beyond what the model knows")
_NOT_FOR_CARE = hd.sr.CodedConcept("USE", SCHEME, "Permitted use")
_RESEARCH = hd.sr.CodedConcept(
    "RESEARCH", SCHEME, "Research only, not a medical device"
)


def make(
    source: pydicom.Dataset, record: Mapping[str, Any], *, making: Making, version: str
) -> pydicom.Dataset:
    """The SR of a film; it names the patient, since a viewer files it by the patient.

    Args:
        source: of `source.read`.
        record: the film's JSON; its reported boxes become findings.
        making: how UIDs and dates are made.
        version: of the software.
    """
    instance = str(source.SOPInstanceUID)
    now = making.now(source)
    algorithm = hd.sr.AlgorithmIdentification(
        name=f"aals_jax: {record['model']['title']}"[:64],
        version=version,
        parameters=[
            f"model {record['model']['manifest_sha256'][:16]}",
            f"reported from {record['reported_from']}",
        ],
    )
    reported = [box for box in record["boxes"] if box["reported"]]
    groups: list[Any] = [
        _finding(source, record, box, number, making, algorithm)
        for number, box in enumerate(reported, start=1)
    ]
    groups.append(_film(source, record, making, algorithm))
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_device_context=hd.sr.ObserverContext(
                observer_type=codes.DCM.Device,
                observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                    uid=making.uid("device", fixed=True),
                    name=MAKER,
                    manufacturer_name=MAKER,
                    model_name=record["model"]["title"][:64],
                ),
            )
        ),
        procedure_reported=codes.LN.XRUnspecifiedBodyRegion,
        imaging_measurements=groups,
        referenced_images=[_listed(source)],
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=[source],
        content=content,
        series_instance_uid=making.uid("SR series", instance),
        series_number=SERIES,
        sop_instance_uid=making.uid("SR", instance),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=record["model"]["title"][:64],
        software_versions=version,
        device_serial_number=record["model"]["manifest_sha256"][:16],
        series_description="RESEARCH ONLY: findings of a neural network",
        content_date=now.date(),
        content_time=now.time(),
        specific_character_set="ISO_IR 192",
        coding_schemes=[
            CodingSchemeIdentificationItem(
                designator=SCHEME, name="aals_jax, private codes"
            )
        ],
        is_complete=True,
    )
    date(report, now)
    return report


def _listed(source: pydicom.Dataset) -> pydicom.Dataset:
    """The film for the library of images, which viewers look for.

    Of a radiograph the library states orientation and spacing; where the header has not
    both, it is listed as an image of any kind. Its own modality stays in the reference.
    """
    listed = copy.copy(source)
    orientation = source.get("PatientOrientation") or ()
    spacing = source.get("ImagerPixelSpacing") or ()
    has_both = len(orientation) == 2 and all(orientation)
    if not has_both or len(spacing) != 2 or not all(spacing):
        listed.Modality = "OT"
    return listed


def codes_of(finding: str) -> tuple[hd.sr.CodedConcept, hd.sr.CodedConcept | None]:
    """Code of a finding, and of its site; a private code where the table has none."""
    if finding in _FINDINGS:
        return _FINDINGS[finding]
    value = "".join(c for c in finding.upper() if c.isascii() and c.isalnum())[:16]
    return hd.sr.CodedConcept(value or "FINDING", SCHEME, finding[:64]), None


def _sites(finding: str, side: str | None) -> list[hd.sr.FindingSite] | None:
    """Site and laterality (CID 244), which has no code for the midline."""
    site = codes_of(finding)[1]
    if site is None:
        return None
    laterality = _SIDES.get(side or "")
    return [hd.sr.FindingSite(anatomic_location=site, laterality=laterality)]


def _measured(
    name: hd.sr.CodedConcept, value: float, algorithm: hd.sr.AlgorithmIdentification
) -> hd.sr.Measurement:
    return hd.sr.Measurement(
        name=name,
        value=round(value, 6),
        unit=codes.UCUM.NoUnits,
        algorithm_id=algorithm,
    )


def _film(
    source: pydicom.Dataset,
    record: Mapping[str, Any],
    making: Making,
    algorithm: hd.sr.AlgorithmIdentification,
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """The film as a whole: score, probability, decisions, what is odd about it.

    Its region is all of the image: OHIF 3.12 shows nothing of a report that has a group
    without coordinates.
    """
    rows, columns = record["stored_shape"]
    whole = {"x0": 0.0, "y0": 0.0, "x1": float(columns), "y1": float(rows)}
    measurements = [_measured(_SCORE, record["score"], algorithm)]
    if record["probability"] is not None:
        measurements.append(_measured(_PROBABILITY, record["probability"], algorithm))
    evaluations = [
        hd.sr.QualitativeEvaluation(name=_NOT_FOR_CARE, value=_RESEARCH),
        *(
            hd.sr.QualitativeEvaluation(
                name=hd.sr.CodedConcept(
                    f"DECISION{k}", SCHEME, f"Decision at {decision['point']}"[:64]
                ),
                value=codes.SCT.Positive
                if decision["positive"]
                else codes.SCT.Negative,
            )
            for k, decision in enumerate(record["decisions"], start=1)
            if decision["positive"] is not None
        ),
        *(
            hd.sr.QualitativeEvaluation(
                name=_FLAG,
                value=hd.sr.CodedConcept(
                    name.upper().replace("_", "")[:16], SCHEME, name.replace("_", " ")
                ),
            )
            for name in record["beyond_model"]
        ),
    ]
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=making.uid("film", str(source.SOPInstanceUID)),
            identifier=f"film, {record['finding']}",
        ),
        # no finding: a film without one has this group too
        finding_type=hd.sr.CodedConcept(
            "SEARCHED", SCHEME, f"Whole film, searched for {record['finding']}"[:64]
        ),
        referenced_region=_region(source, whole),
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=evaluations,
    )


def _finding(
    source: pydicom.Dataset,
    record: Mapping[str, Any],
    box: Mapping[str, Any],
    number: int,
    making: Making,
    algorithm: hd.sr.AlgorithmIdentification,
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=making.uid("finding", str(source.SOPInstanceUID), str(number)),
            identifier=f"{record['finding']} {number}",
        ),
        referenced_region=_region(source, box),
        finding_type=codes_of(record["finding"])[0],
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_sites=_sites(record["finding"], box.get("side")),
        geometric_purpose=codes.SCT.BoundedBy,
        algorithm_id=algorithm,
        measurements=[_measured(_SCORE, box["score"], algorithm)],
    )


def _region(source: pydicom.Dataset, box: Mapping[str, float]) -> hd.sr.ImageRegion:
    return hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=rectangle(box),
        source_image=hd.sr.SourceImageForRegion.from_source_image(source),
    )


def rectangle(box: Mapping[str, float]) -> np.ndarray:
    """f64[5, 2], (column, row) of the corners, the first one again at the end."""
    x0, y0, x1, y1 = (box[name] for name in ("x0", "y0", "x1", "y1"))
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], np.float64)
