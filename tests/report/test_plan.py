"""The page of a plan: what it says of programs that fit, that don't, and that ran."""

import pytest

from aals_jax.report import plan as page

GIB = 2**30
FITS = {
    "images": {"labelled": 2, "image_level": 1},
    "fits": True,
    "needed_bytes": 3 * GIB,
    "arguments": GIB,
    "output": GIB,
    "reused": GIB // 2,
    "temporary": 3 * GIB // 2,
    "code": 0,
    "flops": 2.5e12,
    "traffic": None,
    "collectives": {"all-reduce": {"count": 7, "bytes": 94_000_000}},
    "compile_s": 80.4,
    "compile_cpu_s": 20.0,
}
TOO_LARGE = {
    "images": {"images": 8},
    "fits": False,
    "needed_bytes": 20 * GIB,
    "compile_s": 3.0,
    "compile_cpu_s": 2.0,
}
LARGEST = {
    "stage": "distill", "labelled": 6, "image_level": 3, "needed_bytes": 14 * GIB,
    "next_labelled": 8, "next_image_level": 4, "next_needed_bytes": 18 * GIB,
    "compiles": 4,
}  # fmt: skip


def record(**changes):
    topology = {
        "name": "v5e:4x4", "devices": 16, "hosts": 4, "kind": "TPU v5 lite",
        "ran": False, "memory_bytes": 16 * GIB,
        "programs": {"distill": FITS, "evaluation": TOO_LARGE},
    }  # fmt: skip
    return {
        "config": {"finding": "rib", "scale": "paper", "method": "aals", "side": 1024,
                   "dtype": "bfloat16", "digest": "0"},
        "versions": {"jax": "0.10.2"},
        "topologies": [topology | changes],
    }  # fmt: skip


def cells(text, start):
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_program_that_was_compiled_has_its_sizes_and_no_seconds():
    text = page.render(record())
    assert page.COMPILED in text
    assert cells(text, "| v5e:4x4 (16 x TPU v5 lite) | stage 2") == [
        "v5e:4x4 (16 x TPU v5 lite)", "stage 2", "2 of R and N, 1 of P",
        "3.00 of 16.00", "1.00", "1.50", "0.50", "2500", "unknown",
        "7 all-reduce, 94 MB", "80 s, 20 s of CPU", "not run",
    ]  # fmt: skip


def test_a_program_that_does_not_fit_says_so():
    line = cells(page.render(record()), "| v5e:4x4 (16 x TPU v5 lite) | evaluation")
    assert line[3] == "20.00 of 16.00, **does not fit**"
    assert line[4:10] == ["-"] * 6


def test_every_line_has_as_many_cells():
    lines = [x for x in page.render(record()).splitlines() if x.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 4


def test_what_ran_is_told_from_what_was_compiled():
    ran = record(
        ran=True, kind="cpu", devices=4, programs={"distill": FITS | {"seconds": 0.25}}
    )
    text = page.render(ran)
    assert "measured on 4 x cpu" in text and page.COMPILED not in text
    assert cells(text, "| v5e:4x4 (4 x cpu)")[-1] == "0.25"
    gpu = FITS | {"seconds": 0.25, "peak_bytes": 5 * GIB}
    text = page.render(record(ran=True, programs={"distill": gpu}))
    assert cells(text, "| v5e:4x4")[-1] == "0.25, 5.00 GiB held at most"


@pytest.mark.parametrize("largest, words", [
    (LARGEST, "6 of R and N, 3 of P (14.00 of 16.00 GiB). 8 of R and N, 4 of P need "
              "18.00 of 16.00 GiB and do not fit."),
    (LARGEST | {"labelled": 0, "image_level": 0}, "not even 8 of R and N, 4 of P"),
])  # fmt: skip
def test_the_largest_batch_stands_beside_the_first_that_does_not_fit(largest, words):
    assert words in page.render(record(largest=largest))
