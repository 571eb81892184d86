"""The person's photos: sending, listing and deleting them."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from visiona.entrypoints.cli.answers import Page, Photo
from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.errors import CommandFailed, ExitStatus, Refused
from visiona.entrypoints.cli.options import AsJson, Cursor, Limit, Server
from visiona.entrypoints.cli.output import (
    cell,
    fail,
    in_words,
    note,
    print_json,
    print_more,
    print_table,
    say,
    size_cell,
    time_cell,
)
from visiona.entrypoints.cli.uploading import Verdict, as_uploads, find_photos, upload_all

photos = typer.Typer(no_args_is_help=True, help="Send, list and delete your photos.")


def register(app: typer.Typer) -> None:
    app.add_typer(photos, name="photos", rich_help_panel="Your images")


@photos.command()
def upload(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", exists=True, help="Photos, or folders to search for them."),
    ],
    *,
    consent: Annotated[
        str | None, typer.Option(help="The id of the consent of whose face they show, if not your own.")
    ] = None,
    server: Server,
) -> None:
    """Send photos. Fails only if not one was accepted; those accepted stay in any case."""
    uploads = as_uploads(find_photos(paths))
    if not uploads:
        raise typer.BadParameter("no JPEG, PNG, WebP or HEIC is there", param_hint="PATH")
    verdicts: list[Verdict] = []
    with connect(server) as client:
        try:
            upload_all(client, uploads, verdicts.append, consent)
        finally:
            _show_verdicts(verdicts, len(uploads))
    if not any(verdict.photo for verdict in verdicts):
        raise typer.Exit(ExitStatus.REFUSED)


@photos.command("list")
def list_photos(
    limit: Limit = None, cursor: Cursor = None, as_json: AsJson = False, *, server: Server
) -> None:
    """List your photos."""
    with connect(server) as client:
        answer = client.get("/api/photos", {"limit": limit, "cursor": cursor})
    if as_json:
        print_json(answer.body)
        return
    page = answer.read(Page[Photo])
    if not page.items:
        note("No photos yet. Send some: visiona photos upload FOLDER")
        return
    rows = [
        [
            cell(photo.id),
            size_cell(photo.width, photo.height),
            time_cell(photo.uploaded_at),
            cell(in_words(photo.warnings), "yellow"),
        ]
        for photo in page.items
    ]
    print_table(["ID", "Size", "Uploaded", "Remarks"], rows)
    print_more("visiona photos list", page.next_cursor)


@photos.command()
def delete(ids: Annotated[list[int], typer.Argument(metavar="ID")], *, server: Server) -> None:
    """Delete photos for good. Goes on past those that cannot be deleted."""
    refused = 0
    with connect(server) as client:
        for photo_id in ids:
            try:
                client.delete(f"/api/photos/{photo_id}")
            except Refused as refusal:
                refused += 1
                fail(CommandFailed(f"Photo {photo_id}: {refusal.message}", *refusal.notes))
            else:
                say(f"Deleted photo {photo_id}.")
    if refused:
        raise typer.Exit(ExitStatus.REFUSED)


def _show_verdicts(verdicts: list[Verdict], total: int) -> None:
    if verdicts:
        print_table(["", "File", "Photo", "Size", "Remarks"], [_verdict_row(verdict) for verdict in verdicts])
    accepted = sum(verdict.photo is not None for verdict in verdicts)
    summary = [f"{accepted} accepted", f"{len(verdicts) - accepted} rejected"]
    if untold := total - len(verdicts):
        summary.append(f"{untold} without a verdict")
    note(", ".join(summary) + ".", "bold")


def _verdict_row(verdict: Verdict) -> list[Text]:
    if verdict.photo is None:
        return [cell("✗", "red"), cell(verdict.path), cell(None), cell(None), cell(verdict.remark, "red")]
    photo = verdict.photo
    return [
        cell("✓", "green"),
        cell(verdict.path),
        cell(photo.id),
        size_cell(photo.width, photo.height),
        cell(verdict.remark, "yellow"),
    ]
