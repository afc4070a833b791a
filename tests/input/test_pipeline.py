"""Laws of the batches: each is a function of (seed, step), and P stays P."""

import collections
import itertools

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from aals_jax.input import augment, pipeline, views
from aals_jax.input.dataset import (
    GROUPS,
    Dataset,
    ImageTable,
    object_array,
    split_streams,
)
from tests.support import datasets, registry_files

SIDE = 64
OFF = augment.Ranges(0.0, (1.0, 1.0), 0.0, False, 0.0, 0.0, 0.0)
GEOMETRY = augment.Ranges(20.0, (0.85, 1.2), 0.11, True, 0.0, 0.0, 0.0)
FULL = augment.Ranges(20.0, (0.85, 1.2), 0.11, True, 0.1, 0.3, 0.03)
COUNTS = {"region": 2, "negative": 4, "image_level": 2}
SIZES = {"region": 7, "negative": 12, "image_level": 5}


BOX = np.array([[16.0, 16.0, 32.0, 40.0]], np.float32)


class Drawn:
    """A dataset in memory; image i is grey level i, and reads are counted."""

    side = SIDE

    def __init__(self, images: int = 24, boxless: tuple[int, ...] = ()):
        self.reads: collections.Counter[int] = collections.Counter()
        self.images = images
        self.boxless = boxless

    def read(self, split: str, position: int) -> views.Radiograph:
        assert split == "part_0"
        self.reads[int(position)] += 1
        return views.Radiograph(
            image=np.full((SIDE, SIDE), position, np.uint8),
            boxes=BOX[: position not in self.boxless],
            content=np.array([4.0, 0.0, 60.0, 64.0], np.float32),
        )


def make_table(label, boxed=None):
    n = len(label)
    return ImageTable(
        split=np.array(["part_0"] * n),
        position=np.arange(n),
        label=np.array(label, np.int8),
        count=np.full(n, -1),
        boxes=object_array([BOX[: int(b)] for b in boxed or [False] * n]),
        content=np.tile(np.float32([0, 0, SIDE, SIDE]), (n, 1)),
        patient=np.array([f"p{i}" for i in range(n)]),
        image_id=np.array([f"i{i}" for i in range(n)]),
        **{name: np.array([""] * n) for name in GROUPS},
    )


def make_streams(names=("region", "negative", "image_level")):
    """R is 0..6, N is 7..18, P is 19..23."""
    table = make_table([1] * 7 + [0] * 12 + [1] * 5)
    rows = {"region": (0, 7), "negative": (7, 19), "image_level": (19, 24)}
    return {name: table.select(np.arange(*rows[name])) for name in names}


def some(num_batches=6, *, dataset=None, streams=None, ranges=FULL, **options):
    endless = pipeline.batches(
        dataset or Drawn(),
        streams or make_streams(),
        options.pop("counts", COUNTS),
        seed=options.pop("seed", (0, 2)),
        ranges=ranges,
        makers=views.makers(options.pop("extras", views.Extras())),
        **options,
    )
    return list(itertools.islice(endless, num_batches))


def levels(images) -> list[int]:
    """Which images these are, by the grey level in their middle."""
    return np.rint(255 * images[:, SIDE // 2, SIDE // 2, 0]).astype(int).tolist()


def assert_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("start", [1, 4])
def test_a_restart_goes_on_with_the_batches_that_are_left(start):
    assert_same(some(6)[start:], some(6 - start, start_step=start))


@pytest.mark.parametrize("num_threads", [1, 4])
def test_the_number_of_threads_does_not_change_a_batch(num_threads):
    assert_same(some(), some(num_threads=num_threads))


def test_two_hosts_hold_the_shares_of_one_hosts_batch():
    halves = [some(host=host, hosts=2) for host in range(2)]
    for whole, *parts in zip(some(), *halves, strict=True):
        # a host's labelled images are its share of R, then its share of N
        r, n = COUNTS["region"] // 2, COUNTS["negative"] // 2
        joined = jax.tree.map(
            lambda a, b, r=r: np.concatenate([a[:r], b[:r], a[r:], b[r:]]),
            *[part.labelled for part in parts],
        )
        assert {len(part.labelled.image) for part in parts} == {r + n}
        assert_same(whole.labelled, joined)
        weak = jax.tree.map(lambda *x: np.concatenate(x), *[p.weak for p in parts])
        assert_same(whole.weak, weak)


def test_a_count_that_hosts_cannot_share_is_refused():
    counts = {**COUNTS, "region": 3}
    with pytest.raises(ValueError, match=r"batch\.region=3 .* 2 hosts"):
        some(1, counts=counts, host=0, hosts=2)


def test_each_batch_has_the_fixed_count_of_each_stream():
    for batch in some(ranges=OFF):
        first, then = levels(batch.labelled.image)[:2], levels(batch.labelled.image)[2:]
        assert len(first) == 2 and all(i < 7 for i in first)
        assert len(then) == 4 and all(7 <= i < 19 for i in then)
        weak = levels(batch.weak.image)
        assert len(weak) == 2 and all(19 <= i < 24 for i in weak)


def order(num_batches, part, **options):
    batches = some(num_batches, ranges=OFF, **options)
    picked = {
        "region": lambda b: b.labelled.image[:2],
        "negative": lambda b: b.labelled.image[2:],
        "image_level": lambda b: b.weak.image,
    }[part]
    return [i for batch in batches for i in levels(picked(batch))]


@pytest.mark.parametrize("part", SIZES)
def test_each_epoch_has_each_image_once_in_another_order(part):
    size = SIZES[part]
    seen = order(2 * size, part)
    first, second = seen[:size], seen[size : 2 * size]
    assert len(set(first)) == size
    assert sorted(first) == sorted(second)
    assert first != second


def test_another_seed_or_stage_has_another_order():
    orders = [order(9, "negative", seed=seed) for seed in [(0, 2), (1, 2), (0, 1)]]
    assert len({tuple(o) for o in orders}) == 3


def test_an_image_is_augmented_anew_each_time():
    one = {name: table.select(np.arange(1)) for name, table in make_streams().items()}
    first, second = some(2, streams=one)
    images = np.concatenate([first.labelled.image[2:], second.labelled.image[2:]])
    assert len({image.tobytes() for image in images}) == len(images)


def test_stage_one_never_reads_p():
    dataset = Drawn()
    streams = make_streams(("region", "negative"))
    batches = some(8, dataset=dataset, streams=streams)
    assert all(batch.weak is None for batch in batches)
    assert dataset.reads
    assert max(dataset.reads) < 19


def test_stage_two_does_read_p():
    dataset = Drawn()
    some(8, dataset=dataset)
    assert max(dataset.reads) >= 19


def test_teacher_and_student_see_one_geometry():
    for batch in some(4, ranges=GEOMETRY):
        np.testing.assert_allclose(
            batch.weak.image, batch.weak.student_image, atol=1e-6
        )


def test_the_student_alone_sees_photometry_and_validity_is_its_geometrys():
    streams = {**make_streams(), "image_level": make_streams()["negative"]}
    plain = some(4, streams=streams, ranges=GEOMETRY)
    full = some(4, streams=streams, ranges=FULL)
    for without, with_it in zip(plain, full, strict=True):
        np.testing.assert_array_equal(with_it.weak.image, without.weak.image)
        np.testing.assert_array_equal(with_it.weak.valid, without.weak.valid)
        assert not np.array_equal(with_it.weak.image, with_it.weak.student_image)


def test_a_teacher_with_photometry_of_its_own_leaves_all_else_as_it_was():
    own = views.Extras(jitter_teacher=True)
    for plain, jittered in zip(some(3), some(3, extras=own), strict=True):
        assert not np.array_equal(plain.weak.image, jittered.weak.image)
        assert not np.array_equal(jittered.weak.image, jittered.weak.student_image)
        assert_same(
            plain, jittered.replace(weak=jittered.weak.replace(image=plain.weak.image))
        )


def test_the_boxes_that_p_withholds_are_drawn_where_asked_and_change_nothing_else():
    """In the geometry of their image: as R has its box; and whether there is one."""
    r = make_streams()["region"]
    streams = {**make_streams(), "image_level": r}
    dataset, asked = Drawn(boxless=(0, 1)), views.Extras(withheld=True)
    plain = some(6, streams=streams, dataset=dataset)
    shown = some(6, streams=streams, dataset=dataset, extras=asked)
    seen = set()
    for without, batch in zip(plain, shown, strict=True):
        assert without.weak.withheld is None
        assert_same(without, batch.replace(weak=batch.weak.replace(withheld=None)))
        assert batch.weak.withheld.target.shape == batch.weak.valid.shape
        for i, row in enumerate(batch.weak.row):
            seen.add(row)
            matrix = np.linalg.inv(np.vstack([batch.weak.to_view[i], [0, 0, 1]]))[:2]
            matrix[:, 2] *= SIDE
            expected = augment.draw_boxes(
                BOX if row > 1 else BOX[:0], matrix, side=SIDE, map_side=SIDE // 4
            )
            difference = batch.weak.withheld.target[i] != expected
            assert difference.sum() <= 2  # to_view is float32: a pixel on an edge
            assert batch.weak.withheld.boxed[i] == (row > 1)
    assert {0, 1} < seen


def test_dropout_is_of_the_batch_and_changes_nothing_else():
    """A function of (seed, step) like all else; its expectation is 1."""
    dropping = views.Extras(dropout=0.25, channels=64)
    batches = some(6, extras=dropping)
    assert_same(batches[2:], some(4, extras=dropping, start_step=2))
    keeps = []
    for without, batch in zip(some(6), batches, strict=True):
        assert batch.labelled.keep.shape == (6, 64)
        assert batch.weak.keep.shape == (2, 2, 64)
        keeps += [batch.labelled.keep.ravel(), batch.weak.keep.ravel()]
        assert_same(
            without,
            batch.replace(
                labelled=batch.labelled.replace(keep=None),
                weak=batch.weak.replace(keep=None),
            ),
        )
    values = np.concatenate(keeps)
    assert set(np.unique(values)) == {0.0, np.float32(1 / 0.75)}
    error = 6 * np.sqrt(0.25 / 0.75 / len(values))  # standard errors of the mean
    assert abs(values.mean() - 1.0) < error


def test_an_image_of_p_keeps_its_row_and_its_number_of_lesions():
    """P is 19..23; the number is the record's, else that of boxes that are withheld.

    20 and 21 have a box; the record says 3 of 21, 2 of 22, and 0 of 23, which is in P
    by wrong labels only.
    """
    table = make_table([1] * 24, [False] * 20 + [True] * 2 + [False] * 2)
    table.count[21:] = 3, 2, 0
    numbers = np.array([-1, 1, 3, 2, -1])
    streams = {**make_streams(), "image_level": table.select(np.arange(19, 24))}
    for batch in some(6, streams=streams, ranges=OFF):
        images = np.array(levels(batch.weak.image))
        np.testing.assert_array_equal(batch.weak.row, images - 19)
        np.testing.assert_array_equal(batch.weak.lesions, numbers[images - 19])
        np.testing.assert_array_equal(batch.labelled.label, [1, 1, 0, 0, 0, 0])


def test_unaugmented_target_and_validity_are_the_box_and_the_film():
    (batch,) = some(1, ranges=OFF)
    target, valid = np.zeros((16, 16)), np.zeros((16, 16))
    target[4:10, 4:8] = 1.0
    valid[:, 1:15] = 1.0
    for i in range(6):  # two of R; N has no target, whatever its record holds
        expected = target if i < 2 else np.zeros_like(target)
        np.testing.assert_array_equal(batch.labelled.target[i], expected)
        np.testing.assert_array_equal(batch.labelled.valid[i], valid)
    np.testing.assert_array_equal(batch.weak.valid[0], valid)


def test_boxes_are_added_to_what_is_the_same_without_them():
    """Those of R, as their pixels of the target have them; N has none, though its
    records have a box."""
    plain, boxed = some(3), some(3, extras=views.Extras(max_boxes=2))
    for without, batch in zip(plain, boxed, strict=True):
        assert without.labelled.boxes is None
        found = batch.labelled.boxes
        assert found.shape == (6, 2, 4) and found.dtype == np.float32
        assert not found[2:].any() and not found[:, 1].any()
        labelled = batch.labelled.replace(boxes=None)
        assert_same(batch.replace(labelled=labelled), without)
        for (x0, y0, x1, y1), target in zip(
            found[:2, 0] / views.MAP_STRIDE, batch.labelled.target[:2], strict=True
        ):
            rows, columns = np.nonzero(target)
            if x1 > x0:
                assert abs((columns.mean() + 0.5) - (x0 + x1) / 2) < 1.0
                assert abs((rows.mean() + 0.5) - (y0 + y1) / 2) < 1.0
    assert sum(b.labelled.boxes[:2, 0, 2].astype(bool).sum() for b in boxed) >= 3


def test_batches_are_float32_in_the_unit_range():
    (batch,) = some(1)
    weak = batch.weak
    for leaf in (
        *jax.tree.leaves(batch.labelled),
        weak.image,
        weak.student_image,
        weak.valid,
    ):
        assert leaf.dtype == np.float32
        assert leaf.min() >= 0.0 and leaf.max() <= 1.0
    assert weak.row.dtype == weak.lesions.dtype == np.int32
    assert weak.to_view.dtype == np.float32
    assert weak.to_view.shape == (2, 2, 3)
    assert batch.labelled.image.shape == (6, SIDE, SIDE, 1)
    assert batch.weak.valid.shape == (2, SIDE // 4, SIDE // 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_stored_levels_scale_to_the_unit_range(dtype):
    top = np.iinfo(dtype).max
    image = np.full((32, 32), top, dtype)
    image[:16] = 0
    image[:, :16] //= 5

    class One:
        side = 32

        def read(self, split, position):
            film = np.array([0, 0, 32, 32], np.float32)
            return views.Radiograph(image, np.zeros((0, 4)), film)

    (batch,) = pipeline.evaluation_batches(One(), make_table([1]), batch_size=1)
    expected = image.astype(np.float64)[None, ..., None] / top
    np.testing.assert_allclose(batch, expected, rtol=1e-6)
    assert batch.dtype == np.float32 and batch.max() == 1.0


@pytest.mark.parametrize("images, batch_size", [(10, 4), (8, 4), (3, 8)])
def test_evaluation_has_each_image_once_and_fills_up_with_air(images, batch_size):
    table = make_table([0] * images).select(np.arange(images)[::-1])
    batches = list(pipeline.evaluation_batches(Drawn(), table, batch_size=batch_size))
    assert {len(batch) for batch in batches} == {batch_size}
    joined = np.concatenate(batches)
    assert levels(joined[:images]) == list(range(images))[::-1]
    assert len(joined) - images < batch_size
    assert not np.any(joined[images:])


LABELS = [1] * 12 + [0] * 6 + [-1] * 2
BOXED = [True] * 8 + [False] * 12


def split(region_images, seed=0):
    table = make_table(LABELS, BOXED)
    return split_streams(table, region_images=region_images, seed=seed)


@pytest.mark.parametrize("region_images", [0, 1, 5, 8, None])
def test_streams_are_disjoint_and_hold_every_known_image(region_images):
    streams = split(region_images)
    joined = np.concatenate([streams.region, streams.image_level, streams.negative])
    assert sorted(joined) == list(range(18))
    assert all(BOXED[i] for i in streams.region)
    assert list(streams.negative) == list(range(12, 18))


def test_smaller_region_sets_lie_in_larger_ones():
    sets = [set(split(n).region) for n in range(9)]
    assert [len(s) for s in sets] == list(range(9))
    assert all(a < b for a, b in itertools.pairwise(sets))
    assert sets[-1] == set(split(None).region) == set(split(100).region)


def test_the_choice_of_regions_follows_its_seed():
    chosen = [tuple(split(4, seed).region) for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def noisy(share):
    return split_streams(
        make_table(LABELS, BOXED), region_images=4, seed=0, label_noise=share
    )


@pytest.mark.parametrize("share, wrong", [(0, 0), (0.25, 2), (0.5, 4), (0.75, 6)])
def test_wrong_records_change_places_and_r_stays(share, wrong):
    clean, changed = split(4), noisy(share)
    assert set(changed.region) == set(clean.region)
    assert len(changed.image_level) == 8 and len(changed.negative) == 6
    assert len(set(changed.image_level) & set(clean.negative)) == wrong
    assert len(set(changed.negative) & set(clean.image_level)) == wrong
    assert list(changed.negative) == sorted(changed.negative)


def test_more_noise_keeps_the_wrong_records_of_less():
    invented = [set(noisy(n / 8).image_level) - set(range(12)) for n in range(7)]
    assert all(a < b for a, b in itertools.pairwise(invented))
    with pytest.raises(ValueError, match="N has 6 images"):
        noisy(1)


def test_the_boxes_of_p_are_not_used():
    """A boxed image in P gives the same batch as one whose box is elsewhere."""

    class Elsewhere(Drawn):
        def read(self, split, position):
            there = super().read(split, position)
            boxes = np.zeros((0, 4)) if position >= 19 else there.boxes
            return views.Radiograph(there.image, boxes, there.content)

    assert_same(some(4), some(4, dataset=Elsewhere()))


@pytest.mark.parametrize("bits", [8, 16])
def test_records_are_read_as_tfds_decodes_them(tmp_path, bits):
    registry_files.registry(tmp_path / "registry")
    path = datasets.build(tmp_path / "registry", tmp_path, side=SIDE, bits=bits)
    dataset = Dataset(path, "rib")
    for split in set(dataset.table.split):
        source = tfds.builder_from_directory(str(path)).as_data_source(split=split)
        for position, record in enumerate(source):
            image = dataset.read(split, position).image
            np.testing.assert_array_equal(image, record["image"][..., 0])
            assert image.dtype == {8: np.uint8, 16: np.uint16}[bits]
