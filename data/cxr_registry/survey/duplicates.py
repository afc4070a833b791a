"""Images that are the same, or nearly: a digest, and a hash that tolerates changes.

The perceptual hash is the signs of the 256 lowest DCT coefficients. Two hashes are near
when at most NEAR = 31 bits differ. The search misses no such pair: of 16 bands of 16
bits, at least one differs in one bit or none (two bits in each of 16 bands would make
32), and all pairs with such a band are compared.

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

    pairs: np.ndarray  # i64[k, 3]: indices first < second, differing bits; sorted
    complete: bool  # False where the search stopped at its limit


def digest(pixels: np.ndarray) -> bytes:
    """SHA-256 of an image's shape and its brightness rounded to 16 bits.

    Args:
        pixels: f32[H, W] in [0, 1].
    """
    levels = np.rint(pixels * 65535).astype("<u2")
    return hashlib.sha256(repr(levels.shape).encode() + levels.tobytes()).digest()


def perceptual_hash(pixels: np.ndarray) -> bytes:
    """32 bytes that brightness, contrast, size and compression hardly change.

    Args:
        pixels: f32[H, W] in [0, 1].
    """
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    waves = cv2.dct(small.astype(np.float32))
    # each band has coefficients of all frequencies, so that none is nearly constant
    signs = (waves[_zigzag()] > _FLAT).reshape(BITS // _BANDS, _BANDS).T
    return np.packbits(signs).tobytes()


@functools.cache
def _zigzag() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lowest frequencies, without the mean."""
    row, column = np.indices((_SIDE, _SIDE))
    order = np.lexsort((row.ravel(), (row + column).ravel()))[1 : BITS + 1]
    return row.ravel()[order], column.ravel()[order]


def groups(digests: Sequence[bytes]) -> list[list[int]]:
    """Groups of two and more indices with equal digests, in order."""
    indices_of: dict[bytes, list[int]] = {}
    for index, digest in enumerate(digests):
        indices_of.setdefault(digest, []).append(index)
    return [group for group in indices_of.values() if len(group) > 1]


def near(hashes: Sequence[bytes], *, limit: int = 1_000_000) -> Near:
    """All pairs of hashes in which at most NEAR bits differ.

    Of equal hashes the first stands for all: each of the others makes a pair with it,
    and only the first is paired with further ones. So n equal hashes make n - 1 pairs.

    Args:
        hashes: of `perceptual_hash`.
        limit: number of pairs after which the search stops.
    """
    table = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, BITS // 8)
    unique, first, inverse = np.unique(
        table, axis=0, return_index=True, return_inverse=True
    )
    leaders = first[inverse.ravel()]
    others = np.flatnonzero(leaders != np.arange(len(table)))
    equal = np.stack([leaders[others], others, np.zeros_like(others)], axis=1)
    pairs = [equal[:limit]]
    total = len(equal)
    for left, right, distance in _near_unique(unique):
        if total >= limit:
            break
        ends = np.sort(np.stack([first[left], first[right]], axis=1), axis=1)
        pairs.append(np.column_stack([ends, distance]))
        total += len(left)
    # a pair is met in several bands
    distinct = np.unique(np.concatenate(pairs).astype(np.int64), axis=0)
    return Near(distinct, total < limit)


def _near_unique(table: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """(left, right, distance) of near rows of u8[n, 32]; pairs may repeat."""
    words = table.view(np.uint64)
    for band in table.view(">u2").T:
        for left, right in _close_in(band.astype(np.int64)):
            distance = np.bitwise_count(words[left] ^ words[right]).sum(1, dtype=int)
            is_near = distance <= NEAR
            if is_near.any():
                yield left[is_near], right[is_near], distance[is_near]


def _close_in(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Index pairs whose values of 16 bits differ in one bit or none, each once."""
    order = np.argsort(band, kind="stable")
    values = band[order]
    start = np.searchsorted(values, np.arange((1 << 16) + 1))
    places = np.arange(len(values))
    # equal values that come later, then values with one more bit
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
