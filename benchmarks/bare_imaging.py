"""The least that makes a master and a thumbnail out of each photo: a plain loop over libvips.

`python -m benchmarks.bare_imaging` takes a `Plan` as JSON on standard input and prints a `Result`.
With `pipeline`, the loop calls what Visiona's imaging children call.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from benchmarks.processes import python

MASTER_SIDE = 2048
THUMBNAIL_SIDE = 480
MAX_PIXELS = 100_000_000
ONE_THREAD_EACH = {"VIPS_CONCURRENCY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Plan(msgspec.Struct):
    """`folder` is where the results go; so many `threads` share the photos."""

    photos: list[str]
    folder: str
    threads: int
    pipeline: bool


class Result(msgspec.Struct):
    """Without the time that loading the libraries takes."""

    wall_s: float
    cpu_s: float


def run(plan: Plan) -> Result:
    done = subprocess.run(
        python("-m", "benchmarks.bare_imaging"),
        input=msgspec.json.encode(plan),
        stdout=subprocess.PIPE,
        env=os.environ | ONE_THREAD_EACH,
        check=True,
        timeout=120,
    )
    return msgspec.json.decode(done.stdout, type=Result)


def _libvips() -> Callable[[Path, Path], object]:
    import pyvips  # noqa: PLC0415 - the parent process does without

    def convert(source: Path, stem: Path) -> None:
        image = pyvips.Image.thumbnail(
            str(source), MASTER_SIDE, height=MASTER_SIDE, size="down"
        ).copy_memory()
        image.jpegsave(str(stem.with_suffix(".jpg")), Q=90, keep="none")
        small = image.thumbnail_image(THUMBNAIL_SIDE, height=THUMBNAIL_SIDE, size="down")
        small.webpsave(str(stem.with_suffix(".webp")), Q=80, keep="none")

    return convert


def _pipeline() -> Callable[[Path, Path], object]:
    from visiona.adapters.imaging.pipeline import Pipeline  # noqa: PLC0415 - the parent process does without

    return Pipeline(MAX_PIXELS).photo


def _convert_all(convert: Callable[[Path, Path], object], photos: Sequence[str], folder: Path) -> None:
    for photo in photos:
        convert(Path(photo), folder / Path(photo).stem)


def main() -> None:
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    folder = Path(plan.folder)
    # One converter for each thread: a face finder is not to be shared.
    converters = [_pipeline() if plan.pipeline else _libvips() for _ in range(plan.threads)]
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(plan.threads) as threads:
        done = [
            threads.submit(_convert_all, converter, plan.photos[index :: plan.threads], folder)
            for index, converter in enumerate(converters)
        ]
    for each in done:
        each.result()
    result = Result(time.perf_counter() - wall, time.process_time() - cpu)
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
