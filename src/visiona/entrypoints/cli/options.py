"""Options that several commands share, and how their text becomes values."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from visiona.entrypoints.cli.servers import DEFAULT_SERVER, server_url

_SERVER = "visiona.server"


def remember_server(context: typer.Context, value: str | None) -> str | None:
    """Keep `visiona --server URL …` for the command that follows it."""
    if value:
        context.meta[_SERVER] = value
    return value


def _chosen_server(context: typer.Context, value: str) -> str:
    """The nearest wins: the command's option, then `visiona --server`, then the environment."""
    named = value or context.meta.get(_SERVER) or os.environ.get("VISIONA_SERVER") or DEFAULT_SERVER
    try:
        return server_url(named)
    except ValueError as reason:
        raise typer.BadParameter(str(reason)) from reason


def parse_parameter(text: str) -> tuple[str, Any]:
    """`steps=500` is a number, `flag=true` a boolean, `name=anything else` the text as it stands."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name:
        raise typer.BadParameter(f"{text!r} is not of the form name=value")
    try:
        return name, json.loads(value, parse_constant=_not_json)
    except ValueError:
        return name, value


def _not_json(constant: str) -> Any:
    """Python would read NaN and Infinity, which JSON cannot say."""
    raise ValueError(constant)


def parameters(texts: Sequence[str], **named: Any) -> dict[str, Any]:
    """Those of `--param`, and those with an option of their own; both for one thing is a mistake."""
    given = {name: value for name, value in named.items() if value is not None}
    for name, value in map(parse_parameter, texts):
        if name in given:
            raise typer.BadParameter(f"{name} is given twice")
        given[name] = value
    return given


def confirm(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone; where nobody can be asked, `--yes` must say so."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("needed where nobody can be asked", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


Server = Annotated[
    str,
    typer.Option(
        "--server",
        metavar="URL",
        callback=_chosen_server,
        default_factory=str,
        show_default=False,
        help=f"The Visiona server; else VISIONA_SERVER, else {DEFAULT_SERVER}.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the server's answer as it is.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Go on where a list ended.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Any further input; may be repeated."),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once the work is accepted.")]
OutFolder = Annotated[
    Path, typer.Option("--out", metavar="DIR", file_okay=False, help="Where the images are saved.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

IMAGES_FOLDER = Path("visiona-images")
