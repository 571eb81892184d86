"""The nursery that decodes: `python -m visiona.adapters.imaging.pictures LIMITS`."""

from pathlib import Path
from typing import Any

from visiona.adapters.imaging.nursery import Work, serve
from visiona.adapters.imaging.pipeline import Pipeline
from visiona.adapters.imaging.refusals import Refused
from visiona.adapters.imaging.wire import Limits


def _prepare(limits: Limits, opening: dict[str, Any]) -> Work:
    pipeline = Pipeline(limits.max_pixels)
    trust = opening["trust"]

    def work(request: dict[str, Any]) -> dict[str, Any]:
        source, stem = Path(request["source"]), Path(request["stem"])
        try:
            if request["kind"] == "photo":
                return {"result": pipeline.photo(source, stem)}
            if request["kind"] == "generated":
                return {"result": pipeline.generated(source, stem)}
            return {"result": pipeline.check(source, trust)}
        except Refused as refused:
            return {"refused": refused.code, "cause": refused.cause[:500]}

    return work


if __name__ == "__main__":
    serve(_prepare)
