"""Signing up, in and out, and who one is."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.columns import Columns
from rich.console import RenderableType
from rich.progress_bar import ProgressBar

from visiona.entrypoints.cli.answers import Usage, User
from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.errors import CommandFailed, Refused
from visiona.entrypoints.cli.options import AsJson, Server
from visiona.entrypoints.cli.output import cell, note, print_facts, print_json, say, time_cell
from visiona.entrypoints.cli.servers import travels_in_clear

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client

Email = Annotated[str | None, typer.Option("--email", help="The address of your account; else it is asked.")]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, for scripts.")
]


def register(app: typer.Typer) -> None:
    for command in (signup, login, logout, me):
        app.command(rich_help_panel="Your account")(command)


def signup(email: Email = None, password_stdin: PasswordStdin = False, *, server: Server) -> None:
    """Make an account, and sign in to it."""
    address, password = _credentials(email, password_stdin=password_stdin, confirm=True)
    _sign_in(server, "/api/auth/signup", address, password)


def login(email: Email = None, password_stdin: PasswordStdin = False, *, server: Server) -> None:
    """Sign in; the session is kept for the commands that follow."""
    address, password = _credentials(email, password_stdin=password_stdin, confirm=False)
    _sign_in(server, "/api/auth/login", address, password)


def logout(*, server: Server) -> None:
    """Sign out: the session is forgotten here and revoked at the server."""
    with connect(server) as client:
        try:
            session = client.sign_out()
        except CommandFailed as trouble:
            trouble.notes = (*trouble.notes, "The session is forgotten here, but was not revoked there.")
            raise
    if session is None:
        note(f"You were not signed in at {server}.")
    else:
        say(f"Signed out {session.email} at {server}.")


def me(as_json: AsJson = False, *, server: Server) -> None:
    """Show who is signed in, the plan, and what is left of its quota."""
    with connect(server) as client:
        answer = client.get("/api/auth/me")
    if as_json:
        print_json(answer.body)
    else:
        _show(server, answer.read(User))


def _credentials(email: str | None, *, password_stdin: bool, confirm: bool) -> tuple[str, str]:
    interactive = sys.stdin.isatty()
    if email is None and (password_stdin or not interactive):
        raise typer.BadParameter("needed where nobody can be asked", param_hint="--email")
    if not password_stdin and not interactive:
        raise typer.BadParameter("needed where nobody can be asked", param_hint="--password-stdin")
    address = email or str(typer.prompt("Email", err=True))
    if password_stdin:
        return address, sys.stdin.readline().rstrip("\r\n")
    return address, str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))


def _sign_in(server: str, path: str, email: str, password: str) -> None:
    if travels_in_clear(server):
        note(f"{server} is not encrypted: your password can be read on its way there.", "yellow")
    with connect(server) as client:
        outcome = client.sign_in(path, email, password)
        user = outcome if isinstance(outcome, User) else _second_step(client, outcome.ticket)
    say(f"Signed in as {user.email} at {server}.", "green")
    if os.environ.get("VISIONA_TOKEN"):
        note("VISIONA_TOKEN is set: commands use it instead of this session.", "yellow")


def _second_step(client: "Client", ticket: str) -> User:
    """A person may mistype a code; a script gives it in the line after the password."""
    if not sys.stdin.isatty():
        code = sys.stdin.readline().strip()
        if not code:
            raise CommandFailed(
                "This account asks for a code as well.",
                "Give it in the line after the password, or an API key in VISIONA_TOKEN.",
            )
        return client.sign_in_with_code(ticket, code)
    while True:
        code = str(typer.prompt("Code of your authenticator app, or a recovery code", err=True)).strip()
        try:
            return client.sign_in_with_code(ticket, code)
        except Refused as refusal:
            if refusal.problem.code != "invalid_code":
                raise
            note(str(refusal), "yellow")


def _show(server: str, user: User) -> None:
    say(user.email, "bold")
    facts: dict[str, RenderableType] = {"Server": cell(server), "Plan": cell(user.plan)}
    if not user.email_verified:
        facts["Address"] = cell("not confirmed yet", "yellow")
    if user.quota is not None:
        facts |= {
            "Until": time_cell(user.quota.period_end),
            "Images": _usage(user.quota.images),
            "Clones": _usage(user.quota.clones),
        }
    print_facts(facts)


def _usage(usage: Usage) -> RenderableType:
    if usage.limit is None:
        return cell(f"{usage.used}, no limit")
    bar = ProgressBar(total=usage.limit, completed=usage.used, width=24)
    return Columns([bar, cell(f"{usage.used} of {usage.limit}")])
