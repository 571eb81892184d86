"""Saving images to this machine, each under its id, whole or not at all."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from visiona.entrypoints.cli.answers import Image
from visiona.entrypoints.cli.errors import Refused

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client


def saved_image(folder: Path, image_id: int) -> Path | None:
    """Where the image lies already, if it does."""
    return next(iter(sorted(folder.glob(f"{_stem(image_id)}.*"))), None)


def save_images(
    client: "Client",
    images: Sequence[Image],
    folder: Path,
    *,
    reload: Callable[[], Sequence[Image]],
) -> int:
    """Save those not yet saved, printing the path of each; how many were saved now.

    Links live for minutes: when one no longer opens, `reload` fetches the same images with fresh ones.
    """
    links = {image.id: image.image_url for image in images}
    saved = 0
    for image in images:
        if saved_image(folder, image.id) is not None:
            continue
        try:
            path = client.download(links[image.id], folder, _stem(image.id))
        except Refused:
            links |= {fresh.id: fresh.image_url for fresh in reload()}
            path = client.download(links[image.id], folder, _stem(image.id))
        typer.echo(str(path))
        saved += 1
    return saved


def _stem(image_id: int) -> str:
    return f"visiona-{image_id}"
