"""A grey image in three colours is read as grey; a coloured one is refused."""

import cv2
import imagecodecs
import jpeg_ls
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space

from data.cxr_registry.dicom import decoding, reader
from tests.support.registry_files import dataset, film

GREY = cv2.GaussianBlur((film(1) >> 4).astype(np.uint8), (5, 5), 2)
ALIKE = np.dstack([GREY] * 3)
COLOURED = ALIKE.copy()
COLOURED[10:40, 10:40, 0] = 200


def of_pixels(rgb: np.ndarray, kind: str):
    """An uncompressed dataset of colours u8[H, W, 3] of that interpretation."""
    stored = rgb if kind == "RGB" else convert_color_space(rgb, "RGB", kind)
    return dataset(
        GREY, bits=8, SamplesPerPixel=3, PlanarConfiguration=0, PixelRepresentation=0,
        PhotometricInterpretation=kind, PixelData=stored.tobytes(),
    )  # fmt: skip


def of_stream(stream: bytes, kind: str, syntax: uid.UID):
    ds = of_pixels(ALIKE, "RGB")
    ds.PhotometricInterpretation = kind
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    return ds


def check(grey, coloured, *, loss: int = 0) -> None:
    error = np.abs(decoding.decode(grey, None).astype(int) - GREY).max()
    assert error <= loss
    with pytest.raises(reader.UnreadableRadiograph, match="in colour"):
        decoding.decode(coloured, None)


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize(
    "syntax", [None, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless]
)
def test_colours_as_they_are_are_brought_to_rgb(syntax, kind):
    files = [of_pixels(rgb, kind) for rgb in (ALIKE, COLOURED)]
    for ds in files if syntax else ():
        ds.compress(syntax, generate_instance_uid=False)
    check(*files)


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_jpeg_ls_by_plane_line_and_sample(mode):
    axes = (2, 0, 1) if mode == 0 else (0, 1, 2)
    streams = [
        bytes(jpeg_ls.encode_array(np.ascontiguousarray(rgb.transpose(axes)), 0, mode))
        for rgb in (ALIKE, COLOURED)
    ]
    check(*(of_stream(stream, "RGB", uid.JPEGLSLossless) for stream in streams))


@pytest.mark.parametrize("kind", ["RGB", "YBR_ICT", "YBR_RCT"])
@pytest.mark.parametrize("mct", [False, True])
def test_jpeg_2000_undoes_its_own_transform(kind, mct):
    streams = [
        imagecodecs.jpeg2k_encode(
            rgb, level=0, codecformat="j2k", colorspace="SRGB", mct=mct
        )
        for rgb in (ALIKE, COLOURED)
    ]
    check(*(of_stream(stream, kind, uid.JPEG2000Lossless) for stream in streams))


def unmarked(stream: bytes) -> bytes:
    """A JPEG without the marker, or the letters R G B, that tell its colours."""
    assert stream[2:4] in (b"\xff\xe0", b"\xff\xee")
    bare = stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]
    for old in (b"\x03R\x11\0G\x11\0B\x11\0", b"\x03R\0G\0B\0"):  # frame and scan
        new = old.replace(b"R", b"\1").replace(b"G", b"\2").replace(b"B", b"\3")
        bare = bare.replace(old, new)
    return bare


@pytest.mark.parametrize(
    ("coded", "marked", "kinds"),
    [
        ("YCBCR", True, ("RGB", "YBR_FULL", "YBR_FULL_422")),  # the marker is right
        ("RGB", True, ("RGB", "YBR_FULL", "YBR_FULL_422")),
        ("YCBCR", False, ("YBR_FULL", "YBR_FULL_422")),  # the header alone tells
        ("RGB", False, ("RGB",)),
    ],
)
def test_jpeg_by_its_marker_or_else_by_the_header(coded, marked, kinds):
    streams = [
        imagecodecs.jpeg8_encode(rgb, level=98, colorspace="RGB", outcolorspace=coded)
        for rgb in (ALIKE, COLOURED)
    ]
    streams = streams if marked else [unmarked(stream) for stream in streams]
    for kind in kinds:
        check(*(of_stream(x, kind, uid.JPEGBaseline8Bit) for x in streams), loss=2)


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("marked", [False, True])
def test_jpeg_lossless_is_as_the_header_says(kind, marked):
    streams = []
    for rgb in (ALIKE, COLOURED):
        stored = rgb if kind == "RGB" else convert_color_space(rgb, "RGB", kind)
        stream = imagecodecs.jpeg8_encode(
            stored, lossless=True, colorspace="RGB", outcolorspace="RGB"
        )
        streams.append(stream if marked else unmarked(stream))
    check(*(of_stream(stream, kind, uid.JPEGLosslessSV1) for stream in streams))


def test_signed_colours_are_refused():
    """Their differences may wrap round to 0; the standard has none."""
    ds = of_pixels(ALIKE, "RGB")
    ds.PixelRepresentation = 1
    with pytest.raises(reader.UnreadableRadiograph, match="in colour"):
        decoding.decode(ds, None)
