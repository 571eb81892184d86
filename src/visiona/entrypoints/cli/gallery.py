"""The images made so far: listing, downloading and deleting them."""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from visiona.entrypoints.cli.answers import Deletion, Image, Page
from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.downloading import save_images
from visiona.entrypoints.cli.errors import CommandFailed
from visiona.entrypoints.cli.options import (
    IMAGES_FOLDER,
    AsJson,
    Cursor,
    Limit,
    OutFolder,
    Server,
    Yes,
    confirm,
)
from visiona.entrypoints.cli.output import (
    cell,
    excerpt_cell,
    note,
    print_json,
    print_more,
    print_table,
    say,
    size_cell,
    time_cell,
)

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client


class Order(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"


OfModel = Annotated[int | None, typer.Option("--model", metavar="ID", help="Only images of this clone.")]

gallery = typer.Typer(no_args_is_help=True, help="List, download and delete your images.")


def register(app: typer.Typer) -> None:
    app.add_typer(gallery, name="gallery", rich_help_panel="Your images")


@gallery.command("list")
def list_images(
    model: OfModel = None,
    order: Annotated[Order, typer.Option("--order", help="Which come first.")] = Order.NEWEST,
    limit: Limit = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
    *,
    server: Server,
) -> None:
    """List your images."""
    query = {"model_id": model, "order": order.value, "limit": limit, "cursor": cursor}
    with connect(server) as client:
        answer = client.get("/api/gallery", query)
    if as_json:
        print_json(answer.body)
        return
    page = answer.read(Page[Image])
    if not page.items:
        note('No images yet. Make one: visiona generate "a portrait of TRIGGER_WORD"')
        return
    print_table(["ID", "Clone", "Prompt", "Size", "Seed", "Created"], [_row(image) for image in page.items])
    print_more("visiona gallery list", page.next_cursor)


@gallery.command()
def download(model: OfModel = None, out: OutFolder = IMAGES_FOLDER, *, server: Server) -> None:
    """Save all your images here, except those saved before."""
    saved = seen = 0
    with connect(server) as client:
        for page, reload in _pages(client, model):
            seen += len(page)
            saved += save_images(client, page, out, reload=reload)
    note(f"{saved} saved in {out}, {seen - saved} there already.", "bold")


@gallery.command()
def delete(
    ids: Annotated[list[int], typer.Argument(metavar="ID")],
    yes: Yes = False,
    *,
    server: Server,
) -> None:
    """Delete images for good."""
    confirm(f"Delete {len(ids)} images for good?" if len(ids) > 1 else f"Delete image {ids[0]}?", yes=yes)
    with connect(server) as client:
        deletion = client.post("/api/gallery/delete", {"ids": ids}).read(Deletion)
    if deletion.deleted:
        say(f"Deleted {_listed(deletion.deleted)}.")
    if deletion.not_found:
        raise CommandFailed(f"Not found: {_listed(deletion.not_found)}.")


def _pages(client: "Client", model: int | None) -> Iterator[tuple[list[Image], Callable[[], list[Image]]]]:
    """Each page when the one before is done with, and how to get it again with fresh links."""

    def fetch(cursor: str | None) -> Page[Image]:
        return client.get("/api/gallery", {"model_id": model, "cursor": cursor}).read(Page[Image])

    cursor: str | None = None
    while True:
        page = fetch(cursor)
        yield page.items, lambda at=cursor: fetch(at).items
        cursor = page.next_cursor
        if cursor is None:
            return


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids))


def _row(image: Image) -> list[Text]:
    return [
        cell(image.id),
        cell(image.model_id),
        excerpt_cell(image.prompt),
        size_cell(image.width, image.height),
        cell(image.seed),
        time_cell(image.created_at),
    ]
