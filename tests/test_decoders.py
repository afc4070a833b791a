"""The fast ways of the reader give the pixels of the plain ones."""

import cv2
import numpy as np
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from registry_files import dataset, film

from data.cxr_registry import decoding, grayscale


@pytest.mark.parametrize(
    ("dtype", "bits", "lowest"),
    [
        (np.uint8, 8, 0), (np.int8, 8, -128), (np.int8, 7, -64), (np.uint16, 12, 0),
        (np.uint16, 16, 0), (np.int16, 12, -2048), (np.int16, 16, -32768),
        (np.uint32, 16, 0), (np.int32, 12, -2048),
    ],
)  # fmt: skip
def test_table_is_applied_as_by_indexing(dtype, bits, lowest):
    rng = np.random.default_rng(0)
    values = rng.random(1 << bits, dtype=np.float32)
    stored = rng.integers(lowest, lowest + (1 << bits), (40, 30)).astype(dtype)
    stored[0, :2] = lowest, lowest + (1 << bits) - 1
    shown = grayscale.apply_table(grayscale.Table(values, lowest, ""), stored)
    expected = values[stored.astype(np.int64) - lowest]
    np.testing.assert_array_equal(shown, expected)
    assert shown.dtype == np.float32


def encoded(syntax: uid.UID, bits: int):
    """A smooth film under a syntax that pydicom or OpenCV encodes."""
    smooth = cv2.GaussianBlur(film(3).astype(np.float32), (5, 5), 2)
    stored = np.rint(smooth / 4095 * ((1 << bits) - 1)).astype(np.uint16)
    ds = dataset(stored, bits=bits)
    if syntax != uid.JPEGBaseline8Bit:
        ds.compress(syntax, generate_instance_uid=False)
        return ds
    _, jpeg = cv2.imencode(".jpg", stored.astype(np.uint8))
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([jpeg.tobytes()])
    ds["PixelData"].VR = "OB"
    return ds


@pytest.mark.parametrize(
    ("syntax", "bits"),
    [
        (uid.RLELossless, 8), (uid.RLELossless, 12), (uid.JPEGLSLossless, 12),
        (uid.JPEG2000Lossless, 12), (uid.JPEGBaseline8Bit, 8),
    ],
)  # fmt: skip
def test_decoder_of_first_choice_agrees_with_all_the_others(syntax, bits):
    ds = encoded(syntax, bits)
    decoder = get_decoder(syntax)
    assert decoding.preferred(syntax)[0] in decoder.available_plugins
    assert len(decoder.available_plugins) > 1
    first = decoding.decode(ds, None)
    for plugin in decoder.available_plugins:
        other = decoder.as_array(ds, index=0, decoding_plugin=plugin)[0]
        np.testing.assert_array_equal(other, first, err_msg=plugin)


def test_decoder_that_panics_is_like_one_that_fails():
    """pylibjpeg-rle panics on a segment of more bytes than the image has pixels."""
    ds = encoded(uid.RLELossless, 12)
    too_long = bytes([129, 7]) * 24  # 24 runs of 128 bytes, for 60 x 48 pixels
    header = np.zeros(16, "<u4")
    header[:3] = 2, 64, 64 + len(too_long)
    ds.PixelData = encapsulate([header.tobytes() + too_long * 2])
    ds["PixelData"].VR = "OB"
    stored = decoding.decode(ds, None)
    # pydicom's decoder cuts what is too much
    np.testing.assert_array_equal(stored, np.full((60, 48), 0x0707))
