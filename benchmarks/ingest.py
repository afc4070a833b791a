"""Images a second and core, from a DICOM file to a square, beside torchxrayvision.

    pip install -r requirements/bench.txt      # the peer; no need of the project
    python benchmarks/ingest.py [--repeats 9] [--films 2] [--side 1024]

Films of 3056 x 2544 pixels under every transfer syntax, the same files for both, in
turns on one core. Ours is what the build does: header, pixels, checks, window, upright,
square of 8 bits, and with the PNG encoded and the example made. Theirs is
read_xray_dcm, XRayCenterCrop, XRayResizer: no window, no check, no PNG, and what lies
outside the central square is cut off; also with its window, and with its faster engine.

Then where our time goes, by stage, and what the bare codec takes on the same bytes.
"""

import argparse
import importlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import one_core

if __name__ == "__main__":
    one_core.pin()

import cv2
import numpy as np
import pydicom
from pydicom.encaps import generate_frames

from benchmarks import full_size
from data.cxr_registry.build import encode
from data.cxr_registry.build.options import BuildOptions
from data.cxr_registry.dicom import codecs, decoding, grayscale, headers
from data.cxr_registry.dicom import (
    reader as dicom,
)
from data.cxr_registry.guard import memory
from data.cxr_registry.tables import records

PACKAGES = (
    "numpy", "opencv-python-headless", "pydicom", "imagecodecs", "torchxrayvision",
    "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls", "python-gdcm", "pillow",
    "scikit-image", "torch",
)  # fmt: skip
OURS, SQUARE = "ours", "ours, without PNG"
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("read", dicom, "_read_bytes"),
    ("header", headers, "read_header"),
    ("decode and check", decoding, "decode"),
    ("window", grayscale, "brightness_table"),
    ("window", grayscale, "apply_table"),
    ("square", dicom, "to_square"),
    ("PNG", cv2, "imencode"),
)


# --- the two sides


def study(path: Path) -> records.Study:
    """A row of the registry around the file."""
    return records.Study(
        row=2, image=path.name, path=path, patient="1", days=0,
        labels={"rib": 1}, evidence={}, basis={}, counts={"rib": -1}, regions=(),
        split=None, view="PA", sex="F", age=50, year=2016,
    )  # fmt: skip


def build_options(side: int) -> BuildOptions:
    """Of images of that side; nothing is read from the paths."""
    return BuildOptions(
        registry=Path("registry"),
        data_dir=Path("data"),
        key_file=Path("key"),
        findings=("rib",),
        side=side,
    )


def encoder(path: Path, side: int) -> Callable[[], encode.Encoded]:
    row, options = study(path), build_options(side)
    return lambda: encode.encode_study(row, options=options, key=bytes(32))


def peers(side: int) -> dict[str, Callable[[Path], np.ndarray]]:
    """torchxrayvision's ways from a file to f32[1, side, side]; none when absent."""
    try:
        xrv = importlib.import_module("torchxrayvision")
        torch = importlib.import_module("torch")
    except ImportError as error:
        print(
            f"torchxrayvision can't be imported ({error}), its numbers are left out: "
            "pip install -r requirements/bench.txt"
        )
        return {}
    torch.set_num_threads(1)
    crop = xrv.datasets.XRayCenterCrop()
    resize = {
        engine: xrv.datasets.XRayResizer(side, engine=engine)
        for engine in ("skimage", "cv2")
    }

    def reader(engine: str, window: bool) -> Callable[[Path], np.ndarray]:
        def read(path: Path) -> np.ndarray:
            pixels = xrv.utils.read_xray_dcm(path, voi_lut=window)
            return resize[engine](crop(pixels[None]))

        return read

    return {
        "default": reader("skimage", False),
        "with its window": reader("skimage", True),
        "engine cv2": reader("cv2", False),
    }


# --- where the time goes


@contextmanager
def clocks() -> Iterator[dict[str, float]]:
    """CPU seconds spent in each of STAGES while the block runs."""
    spent = dict.fromkeys([stage for stage, _, _ in STAGES], 0.0)
    originals = [getattr(owner, name) for _, owner, name in STAGES]

    def timed(stage: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[stage] += time.process_time() - start

        return call

    for (stage, owner, name), function in zip(STAGES, originals, strict=True):
        setattr(owner, name, timed(stage, function))
    try:
        yield spent
    finally:
        for (_, owner, name), function in zip(STAGES, originals, strict=True):
            setattr(owner, name, function)


def stages(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each stage, and of the rest."""
    columns: dict[str, list[float]] = {}
    for _ in range(repeats):
        with clocks() as spent:
            start = time.process_time()
            call()
            whole = time.process_time() - start
        for name, value in {**spent, "rest": whole - sum(spent.values())}.items():
            columns.setdefault(name, []).append(value)
    return one_core.medians(columns)


def writer(example: dict[str, Any], side: int, folder: Path) -> Callable[[], None]:
    """Serialises an example as TFDS does and appends it to an array_record."""
    array_record: Any = importlib.import_module(
        "array_record.python.array_record_module"
    )
    serialize = encode.serializer(build_options(side))
    records_file = array_record.ArrayRecordWriter(
        str(folder / "speed.array_record"), "group_size:1"
    )

    def write() -> None:
        records_file.write(serialize(example))

    return write


def bare_codec(path: Path) -> Callable[[], object]:
    """The decoder alone, on the bytes of the frame; a copy where nothing is encoded."""
    ds = pydicom.dcmread(path)
    syntax = ds.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return lambda: bytearray(ds.PixelData)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    layout = codecs.Layout(
        ds.Rows, ds.Columns, samples=1, sample_bytes=ds.BitsAllocated // 8,
        kind=ds.PhotometricInterpretation,
    )  # fmt: skip
    return lambda: codecs.decode(syntax, frame, layout)


# --- the tables


def compare(paths: list[Path], side: int, repeats: int) -> dict[str, float]:
    """Median CPU seconds an image: ours, theirs."""
    sides: dict[str, list[float]] = {}
    for path in paths:
        calls: dict[str, Callable[[], object]] = {
            OURS: encoder(path, side),
            SQUARE: lambda path=path: dicom.to_square(
                dicom.read_radiograph(path).pixels, side
            ),
        }
        for name, read in peers(side).items():
            calls[name] = lambda path=path, read=read: read(path)
        for name, seconds in one_core.in_turns(calls, repeats).items():
            sides.setdefault(name, []).extend(seconds)
    return one_core.medians(sides)


def print_row(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(cells: list[str]) -> None:
    print_row(cells)
    print_row(["---"] * len(cells))


def print_comparison(files: dict[str, list[Path]], side: int, repeats: int) -> None:
    names = list(peers(side))
    print_head(
        ["syntax", "MB", "ours: images/s", "ms", "without PNG: ms"]
        + [f"{name}: ms, times ours (without PNG)" for name in names]
    )
    for syntax, paths in files.items():
        found = compare(paths, side, repeats)
        size = np.mean([path.stat().st_size for path in paths]) / 1e6
        cells = [syntax, f"{size:.1f}", f"{1 / found[OURS]:.1f}"]
        cells += [f"{1e3 * found[name]:.0f}" for name in (OURS, SQUARE)]
        for name in names:
            one, other = found[name] / found[OURS], found[name] / found[SQUARE]
            cells.append(f"{1e3 * found[name]:.0f}, **{one:.1f}** ({other:.1f})")
        print_row(cells)


def print_stages(files: dict[str, list[Path]], side: int, repeats: int) -> None:
    shown = list(dict.fromkeys(stage for stage, _, _ in STAGES))
    print_head(["syntax", *shown, "rest", "write", "sum", "bare codec", "share of it"])
    for syntax, (path, *_) in files.items():
        call = encoder(path, side)
        example = call().example
        found = stages(call, repeats)
        with tempfile.TemporaryDirectory() as folder:
            calls = {
                "write": writer(example, side, Path(folder)),
                "codec": bare_codec(path),
            }
            extra = one_core.medians(one_core.in_turns(calls, repeats))
        whole = sum(found.values()) + extra["write"]
        times = [*found.values(), extra["write"], whole, extra["codec"]]
        cells = [f"{1e3 * value:.1f}" for value in times]
        print_row([syntax, *cells, f"{100 * extra['codec'] / whole:.0f} %"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--films", type=int, default=2)
    parser.add_argument("--side", type=int, default=1024, help="pixels of the square")
    parser.add_argument("--fresh_memory", action="store_true", help="from the system")
    parser.add_argument("--syntaxes", nargs="+", default=list(full_size.SYNTAXES))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if not options.fresh_memory:
        memory.keep()
    warnings.simplefilter("ignore")
    print(one_core.machine(PACKAGES))
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, list[Path]] = {name: [] for name in options.syntaxes}
        for seed in range(options.films):
            stored = full_size.film(seed)
            for number, syntax in enumerate(options.syntaxes):
                path = Path(folder) / f"{seed}-{number}.dcm"
                full_size.write(path, stored, syntax)
                files[syntax].append(path)
        print("\nCPU milliseconds an image, medians in turns:\n")
        print_comparison(files, options.side, options.repeats)
        print("\nWhere our time goes, milliseconds an image, and the bare codec's:\n")
        print_stages(files, options.side, options.repeats)


if __name__ == "__main__":
    main()
