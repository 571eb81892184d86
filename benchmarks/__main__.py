"""`python -m benchmarks [name…] [--quick]`: measure, and print tables of ratios."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import delay, encryption, gallery, machine, policies, start, upload, webhooks
from benchmarks.bench import Bench, Measurement
from benchmarks.stack import postgres_server

MEASUREMENTS: dict[str, Measurement] = {
    "start": start.measure,
    "gallery": gallery.measure,
    "upload": upload.measure,
    "delay": delay.measure,
    "webhooks": webhooks.measure,
    "policies": policies.measure,
    "encryption": encryption.measure,
}


def main() -> None:
    names, quick = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleaned up
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="vbench-", ignore_cleanup_errors=True) as name,
        postgres_server(Path(name) / "postgres") as postgres,
    ):
        print(machine.describe(postgres.version))
        if machine.is_busy():
            print("This machine is busy with something else: take the figures with caution.")
        if quick:
            print("Quick: too few rounds for figures to be quoted.")
        for measurement in names:
            folder = Path(name) / measurement
            folder.mkdir()
            for table in MEASUREMENTS[measurement](Bench(postgres, folder, quick)):
                print(f"\n{table.text()}", end="", flush=True)
    print(f"\n{time.monotonic() - begun:.0f} s in all")


def _arguments() -> tuple[list[str], bool]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which ones: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="a trial run in a minute or two")
    given = parser.parse_args()
    unknown = set(given.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    return given.names or list(MEASUREMENTS), given.quick


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
