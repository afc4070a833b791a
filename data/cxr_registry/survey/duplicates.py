"""Images that are the same, or nearly: digests, and a hash that small changes keep.

The perceptual hash is the signs of the 256 lowest DCT coefficients. Two hashes of at
most NEAR = 31 differing bits are near. The search misses none: cut into 16 bands of 16
bits, two hashes that differ in 31 bits have a band that differs in one bit or none
(16 bands of two each would make 32), and all pairs of such bands are compared.

References:
    C. Zauner, Implementation and benchmarking of perceptual image hashes (2010).
    M. Norouzi et al., Fast search in Hamming space with multi-index hashing, CVPR 2012.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

BITS = 256
NEAR = 31  # differing bits; docs/audit.md says what that finds
_BANDS = 16
_SIDE = 64  # of the picture that is transformed
_FLAT = 1e-4  # coefficients of a picture in [0, 1] below this are rounding
_CHUNK = 1 << 20  # pairs compared at once: 64 MiB of hashes


class Near(NamedTuple):
    """Pairs of near images."""

    pairs: np.ndarray  # i64[k, 3]: first < second, differing bits; sorted
    complete: bool  # False where the search stopped at its limit


def digest(pixels: np.ndarray) -> bytes:
    """Of the shape and the brightness, f32[H, W] in [0, 1], to 16 bits."""
    levels = np.rint(pixels * 65535).astype("<u2")
    return hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).digest()


def perceptual_hash(pixels: np.ndarray) -> bytes:
    """32 bytes that brightness, contrast, size and compression hardly change.

    Args:
        pixels: f32[H, W] in [0, 1].
    """
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small.astype(np.float32))
    # a coefficient of each frequency range in each band: none is nearly constant
    signs = (waves[_zigzag()] > _FLAT).reshape(BITS // _BANDS, _BANDS).T
    return np.packbits(signs).tobytes()


@functools.cache
def _zigzag() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lowest frequencies, the mean left out."""
    row, column = np.indices((_SIDE, _SIDE))
    order = np.lexsort((row.ravel(), (row + column).ravel()))[1 : BITS + 1]
    return row.ravel()[order], column.ravel()[order]


def groups(digests: Sequence[bytes]) -> list[list[int]]:
    """Indices of equal digests, each group of two and more, in order."""
    found: dict[bytes, list[int]] = {}
    for index, one in enumerate(digests):
        found.setdefault(one, []).append(index)
    return [group for group in found.values() if len(group) > 1]


def near(hashes: Sequence[bytes], *, limit: int = 1_000_000) -> Near:
    """All pairs of at most NEAR differing bits.

    Of images with one hash the first stands for all: each of the others makes a pair
    with it, and only the first is paired with further images. So n equal ones make
    n - 1 pairs.

    Args:
        hashes: of `perceptual_hash`.
        limit: pairs after which the search stops.
    """
    table = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, BITS // 8)
    unique, first, inverse = np.unique(
        table, axis=0, return_index=True, return_inverse=True
    )
    leaders = first[inverse.ravel()]
    others = np.flatnonzero(leaders != np.arange(len(table)))
    equal = np.stack([leaders[others], others, np.zeros_like(others)], axis=1)
    found = [equal[:limit]]
    total = len(equal)
    for left, right, distance in _near_unique(unique):
        if total >= limit:
            break
        ends = np.sort(np.stack([first[left], first[right]], axis=1), axis=1)
        found.append(np.column_stack([ends, distance]))
        total += len(left)
    pairs = np.concatenate(found).astype(np.int64)
    return Near(np.unique(pairs, axis=0), total < limit)  # by several bands, once


def _near_unique(table: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """(left, right, distance) of near rows of u8[n, 32], some pairs several times."""
    words = table.view(np.uint64)
    for band in table.view(">u2").T:
        for left, right in _close_in(band.astype(np.int64)):
            distance = np.bitwise_count(words[left] ^ words[right]).sum(1, dtype=int)
            hit = distance <= NEAR
            if hit.any():
                yield left[hit], right[hit], distance[hit]


def _close_in(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Index pairs whose values of 16 bits differ in one bit or none, each once."""
    order = np.argsort(band, kind="stable")
    values = band[order]
    start = np.searchsorted(values, np.arange((1 << 16) + 1))
    places = np.arange(len(values))
    # the equal ones that come later, then those with one more bit
    spans = [(places + 1, start[values + 1])]
    for bit in 1 << np.arange(16):
        lacks = (values & bit) == 0
        partner = values | bit
        begin, end = start[partner], start[partner + 1]
        spans.append((begin, np.where(lacks, end, begin)))
    for begin, end in spans:
        counts = end - begin
        for at, stop in _chunks(counts):
            here = counts[at:stop]
            left = np.repeat(places[at:stop], here)
            within = np.arange(here.sum()) - np.repeat(np.cumsum(here) - here, here)
            yield order[left], order[np.repeat(begin[at:stop], here) + within]


def _chunks(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of entries with about _CHUNK pairs in each."""
    done = np.cumsum(counts)
    if not len(done) or not done[-1]:
        return
    marks = np.arange(0, done[-1], _CHUNK)
    edges = np.unique([*np.searchsorted(done, marks, side="right"), len(counts)])
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
