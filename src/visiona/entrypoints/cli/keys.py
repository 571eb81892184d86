"""API keys for programs: making, listing and revoking them."""

from typing import Annotated

import typer
from rich.text import Text

from visiona.entrypoints.cli.answers import ApiKey, NewApiKey, Page
from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.options import AsJson, Cursor, Limit, Server, Yes, confirm
from visiona.entrypoints.cli.output import cell, note, print_json, print_more, print_table, say, time_cell
from visiona.keys.model import DEFAULT_DAYS, MAX_DAYS, Scope

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys for your programs.")


def register(app: typer.Typer) -> None:
    app.add_typer(keys, name="keys", rich_help_panel="Your account")


@keys.command("list")
def list_keys(limit: Limit = None, cursor: Cursor = None, as_json: AsJson = False, *, server: Server) -> None:
    """List your API keys, without the keys themselves."""
    with connect(server) as client:
        answer = client.get("/api/keys", {"limit": limit, "cursor": cursor})
    if as_json:
        print_json(answer.body)
        return
    page = answer.read(Page[ApiKey])
    if not page.items:
        note("No API keys yet. Make one: visiona keys create NAME --scope images:read")
        return
    print_table(
        ["ID", "Name", "Begins with", "Scopes", "Expires", "Last used"], [_row(k) for k in page.items]
    )
    print_more("visiona keys list", page.next_cursor)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What you will know it by.")],
    scope: Annotated[list[Scope], typer.Option("--scope", help="What it is for; may be repeated.")],
    days: Annotated[
        int, typer.Option("--days", min=1, max=MAX_DAYS, help="How long it lives.")
    ] = DEFAULT_DAYS,
    as_json: AsJson = False,
    *,
    server: Server,
) -> None:
    """Make an API key, and print it: programs show it in VISIONA_TOKEN, or as a bearer token."""
    body = {"name": name, "scopes": [one.value for one in scope], "expires_in_days": days}
    with connect(server) as client:
        answer = client.make("/api/keys", body)
    if as_json:
        print_json(answer.body)
        return
    key = answer.read(NewApiKey)
    say(key.key)
    note(f"This is the only time that key {key.id} is shown. Keep it where only its program reads it.")


@keys.command()
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID")],
    yes: Yes = False,
    *,
    server: Server,
) -> None:
    """Revoke an API key: its program is refused from now on."""
    confirm(f"Revoke key {key_id} for good?", yes=yes)
    with connect(server) as client:
        client.delete(f"/api/keys/{key_id}")
    say(f"Revoked key {key_id}.")


def _row(key: ApiKey) -> list[Text]:
    ended = key.revoked_at is not None
    return [
        cell(key.id),
        cell(key.name),
        cell(key.prefix),
        cell(", ".join(key.scopes)),
        cell("revoked", "red") if ended else time_cell(key.expires_at),
        time_cell(key.last_used_at),
    ]
