"""Generating images with a trained version at a provider."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from visiona.ports.remote import PredictionReport


@dataclass(frozen=True, slots=True)
class GenerationOrder:
    """One generation to be made. `inputs` always holds an explicit `seed`, which together with the
    rest of the inputs lets a lost answer be found again.
    """

    version: str
    inputs: Mapping[str, Any] = field(repr=False)
    webhook_url: str | None


class Generator(Protocol):
    """All methods raise the errors of `visiona.ports.errors`."""

    async def start_prediction(self, order: GenerationOrder) -> PredictionReport:
        """Start it. `OutcomeUnknown` when the answer was lost: then ask `find_prediction`."""
        ...

    async def find_prediction(
        self, order: GenerationOrder, since: datetime, taken: Collection[str] = ()
    ) -> PredictionReport | None:
        """The prediction made from this order at or after `since`, if the provider has one; `taken`
        are the ids of those that belong to other orders.
        """
        ...

    async def get_prediction(self, prediction_id: str) -> PredictionReport: ...

    async def cancel_prediction(self, prediction_id: str) -> PredictionReport:
        """Ask for the end; the answer may still show a running state. A finished one stays as it is."""
        ...

    async def download(self, url: str, target: Path) -> None:
        """Stream one output to `target`. Hosts off the allow-list, redirects and bodies over the
        size limit raise `ProviderRejected`; the access token never leaves for a delivery host.
        """
        ...
