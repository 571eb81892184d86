"""Consent to the use of a face: reading the text, signing it, asking somebody else, withdrawing."""

from typing import Annotated

import msgspec
import typer

from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.errors import CommandFailed
from visiona.entrypoints.cli.options import AsJson, Server
from visiona.entrypoints.cli.output import cell, note, print_json, print_table, say

consent = typer.Typer(no_args_is_help=True, help="See, give and withdraw consent to the use of a face.")


class Section(msgspec.Struct, frozen=True):
    title: str
    paragraphs: list[str] = []


class ConsentText(msgspec.Struct, frozen=True):
    version: str
    title: str
    sections: list[Section] = []
    confirmations: list[str] = []


class Consent(msgspec.Struct, frozen=True):
    id: str
    subject: str
    state: str
    current: bool = False
    version: str | None = None
    label: str | None = None
    name: str | None = None
    link: str | None = None


class Consents(msgspec.Struct, frozen=True):
    needed: bool
    text: ConsentText
    items: list[Consent] = []


def register(app: typer.Typer) -> None:
    app.add_typer(consent, name="consent", rich_help_panel="Your images")


@consent.command()
def show(as_json: AsJson = False, *, server: Server) -> None:
    """Show the text, and every consent there is or was."""
    with connect(server) as client:
        answer = client.get("/api/consents")
    if as_json:
        print_json(answer.body)
        return
    found = answer.read(Consents)
    _show_text(found.text)
    if found.items:
        print_table(
            ["ID", "Whose face", "State", "Text of"],
            [
                [cell(one.id), cell(one.label or "your own"), cell(one.state), cell(one.version)]
                for one in found.items
            ],
        )
    if found.needed:
        note("You have not consented to this text. Sign it: visiona consent give")


@consent.command()
def give(
    name: Annotated[str, typer.Option(help="Your full name, as your signature.", prompt="Your full name")],
    *,
    i_am_18_and_agree: Annotated[
        bool,
        typer.Option("--i-am-18-and-agree", help="Make both confirmations of the text without being asked."),
    ] = False,
    server: Server,
) -> None:
    """Read the text, and consent to the use of your own face."""
    with connect(server) as client:
        text = client.get("/api/consents").read(Consents).text
        _show_text(text)
        for confirmation in text.confirmations:
            if not i_am_18_and_agree and not typer.confirm(confirmation):
                raise CommandFailed("Nothing was signed.")
        client.post("/api/consents", {"version": text.version, "name": name, "adult": True, "agreed": True})
    say("Your consent is on record. Withdraw it at any time: visiona consent withdraw ID")


@consent.command()
def ask(
    label: Annotated[str, typer.Argument(metavar="NAME", help="What you call the other person.")],
    *,
    server: Server,
) -> None:
    """Make a link by which somebody else consents to the use of their face. Send it to them."""
    with connect(server) as client:
        made = client.post("/api/consents/requests", {"label": label}).read(Consent)
    say(made.link or "")


@consent.command()
def withdraw(
    consent_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    server: Server,
) -> None:
    """Withdraw a consent: photos, clones and images that hang on it are deleted for good."""
    if not yes:
        typer.confirm("Photos, clones and images of this face are deleted for good. Go on?", abort=True)
    with connect(server) as client:
        client.delete(f"/api/consents/{consent_id}")
    say("Withdrawn. What hangs on it is being deleted.")


def _show_text(text: ConsentText) -> None:
    note(f"{text.title} (version {text.version})", "bold")
    for section in text.sections:
        note(f"\n{section.title}", "bold")
        for paragraph in section.paragraphs:
            note(paragraph)
    note("")
