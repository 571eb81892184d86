"""Generating images from a prompt, and following the runs that do it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from visiona.entrypoints.cli.answers import Page, Run
from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.downloading import save_images
from visiona.entrypoints.cli.errors import WorkFailed
from visiona.entrypoints.cli.models import LATEST, chosen_model
from visiona.entrypoints.cli.options import (
    IMAGES_FOLDER,
    AsJson,
    Cursor,
    Limit,
    NoWait,
    OutFolder,
    Parameters,
    Server,
    parameters,
)
from visiona.entrypoints.cli.output import (
    cell,
    excerpt_cell,
    note,
    print_json,
    print_more,
    print_table,
    quote,
    say,
    status_cell,
    time_cell,
)
from visiona.entrypoints.cli.waiting import Sighting, wait

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client

RunId = Annotated[str, typer.Argument(metavar="ID")]
FINISHED = frozenset({"succeeded", "failed", "canceled"})
UNENHANCED = {
    "refused": "The enhancer declined this prompt, so it is used as you wrote it.",
    "unavailable": "No enhancer could be reached, so the prompt is used as you wrote it.",
    "off": "This server enhances no prompts, so it is used as you wrote it.",
}

runs = typer.Typer(no_args_is_help=True, help="List, watch and cancel what you let generate.")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Your images")(generate)
    app.add_typer(runs, name="runs", rich_help_panel="Your images")


def _model_named(text: str) -> str:
    if text != LATEST and not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither the id of a clone nor {LATEST!r}")
    return text


def generate(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="With your trigger word in it.")],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="ID", callback=_model_named, help="The clone; else the latest ready."
        ),
    ] = LATEST,
    enhance: Annotated[bool, typer.Option("--enhance", help="Let the prompt be enriched first.")] = False,
    count: Annotated[int, typer.Option("-n", min=1, max=4, help="How many images.")] = 1,
    aspect: Annotated[str | None, typer.Option("--aspect", metavar="W:H", help="Like 3:2.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed makes the same image.")] = None,
    param: Parameters = None,
    out: OutFolder = IMAGES_FOLDER,
    no_wait: NoWait = False,
    *,
    server: Server,
) -> None:
    """Generate images of yourself, and save them here."""
    body = parameters(
        param or [],
        model_id=model,
        prompt=prompt,
        enhance=enhance,
        num_outputs=count,
        aspect_ratio=aspect,
        seed=seed,
    )
    with connect(server) as client:
        body["model_id"] = chosen_model(client, model)
        run = client.spend("/api/generate", body).read(Run)
        if no_wait:
            say(f"Run {run.id} is accepted.")
            note(f"Watch it: visiona runs watch {run.id}")
        else:
            _follow(client, run.id, out)


@runs.command("list")
def list_runs(limit: Limit = None, cursor: Cursor = None, as_json: AsJson = False, *, server: Server) -> None:
    """List your runs."""
    with connect(server) as client:
        answer = client.get("/api/generate", {"limit": limit, "cursor": cursor})
    if as_json:
        print_json(answer.body)
        return
    page = answer.read(Page[Run])
    if not page.items:
        note('No runs yet. Start one: visiona generate "a portrait of TRIGGER_WORD"')
        return
    print_table(["ID", "Clone", "Status", "Prompt", "Created"], [_row(run) for run in page.items])
    print_more("visiona runs list", page.next_cursor)


@runs.command()
def watch(run_id: RunId, out: OutFolder = IMAGES_FOLDER, *, server: Server) -> None:
    """Watch a run until it ends, and save its images."""
    with connect(server) as client:
        _follow(client, run_id, out)


@runs.command()
def cancel(run_id: RunId, *, server: Server) -> None:
    """Cancel a run; quota for images not made is given back."""
    with connect(server) as client:
        client.post(f"/api/generate/{run_id}/cancel")
    say(f"Run {run_id} is being canceled.")


def _follow(client: "Client", run_id: int | str, out: Path) -> None:
    told = False

    def look() -> Run:
        return client.get(f"/api/generate/{run_id}").read(Run)

    def read(run: Run) -> Sighting:
        nonlocal told
        if not told:
            told = _tell_enhancement(run)
        return _sighting(run)

    run = wait(look, read, again=f"visiona runs watch {run_id}")
    save_images(client, run.images, out, reload=lambda: look().images)
    _conclude(run)


def _tell_enhancement(run: Run) -> bool:
    """Show once what became of the prompt; False while it is not decided."""
    outcome = run.enhancement.outcome
    if outcome == "enhanced" and run.enhanced_prompt:
        by = f" by {run.enhancement.provider}" if run.enhancement.provider else ""
        note(f"Enhanced{by}:", "bold")
        quote(run.enhanced_prompt)
    elif outcome in UNENHANCED:
        note(UNENHANCED[outcome], "yellow")
    return outcome not in {None, "pending"}


def _sighting(run: Run) -> Sighting:
    if run.status == "succeeded":
        return Sighting(done=True, progress=1.0, label="Generated")
    label = "Waiting for its turn" if run.status == "queued" else "Generating"
    started = run.progress if run.status != "queued" else None
    return Sighting(done=run.status in FINISHED, progress=started, label=label)


def _conclude(run: Run) -> None:
    if run.status == "canceled":
        raise WorkFailed(f"Run {run.id} was canceled.")
    if run.status == "failed":
        reason = run.error.sentence() if run.error else "no reason was given"
        raise WorkFailed(f"Run {run.id} failed: {reason}")
    if len(run.images) < run.num_outputs:
        note(f"{len(run.images)} of {run.num_outputs} images were made; the rest is not charged.", "yellow")


def _row(run: Run) -> list[Text]:
    return [
        cell(run.id),
        cell(run.model_id),
        status_cell(run.status, run.progress),
        excerpt_cell(run.prompt),
        time_cell(run.created_at),
    ]
