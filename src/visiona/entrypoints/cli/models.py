"""Training clones, which the API calls models, and looking after them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from visiona.entrypoints.cli.answers import Model, Page
from visiona.entrypoints.cli.connection import connect
from visiona.entrypoints.cli.errors import CommandFailed, WorkFailed
from visiona.entrypoints.cli.options import (
    AsJson,
    Cursor,
    Limit,
    NoWait,
    Parameters,
    Server,
    Yes,
    confirm,
    parameters,
)
from visiona.entrypoints.cli.output import (
    cell,
    note,
    print_facts,
    print_json,
    print_more,
    print_table,
    say,
    status_cell,
    time_cell,
)
from visiona.entrypoints.cli.waiting import Sighting, wait

if TYPE_CHECKING:
    from visiona.entrypoints.cli.client import Client

ModelId = Annotated[int, typer.Argument(metavar="ID")]
LATEST = "latest"

models = typer.Typer(no_args_is_help=True, help="List, watch, cancel and delete your clones.")


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Your images")(train)
    app.add_typer(models, name="models", rich_help_panel="Your images")


def train(
    trigger_word: Annotated[
        str, typer.Argument(metavar="TRIGGER_WORD", help="The word that stands for you in prompts.")
    ],
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Rank of the LoRA (lora_rank).")] = None,
    param: Parameters = None,
    photo: Annotated[
        list[int] | None,
        typer.Option("--photo", metavar="ID", help="Only this photo; may be repeated. Else all."),
    ] = None,
    no_wait: NoWait = False,
    *,
    server: Server,
) -> None:
    """Train a clone on your photos."""
    body: dict[str, Any] = {
        "trigger_word": trigger_word,
        "parameters": parameters(param or [], steps=steps, lora_rank=rank),
    }
    if photo:
        body["photo_ids"] = photo
    with connect(server) as client:
        model = client.spend("/api/models/train", body).read(Model)
        say(
            f"Clone {model.id} is being trained{_on_photos(model)}; its trigger word is {model.trigger_word}."
        )
        if no_wait:
            note(f"Watch it: visiona models watch {model.id}")
        else:
            _watch(client, model.id)


@models.command("list")
def list_models(
    limit: Limit = None, cursor: Cursor = None, as_json: AsJson = False, *, server: Server
) -> None:
    """List your clones."""
    with connect(server) as client:
        answer = client.get("/api/models", {"limit": limit, "cursor": cursor})
    if as_json:
        print_json(answer.body)
        return
    page = answer.read(Page[Model])
    if not page.items:
        note("No clones yet. Train one: visiona train TRIGGER_WORD")
        return
    print_table(["ID", "Trigger word", "Status", "Photos", "Created"], [_row(model) for model in page.items])
    print_more("visiona models list", page.next_cursor)


@models.command()
def status(model_id: ModelId, as_json: AsJson = False, *, server: Server) -> None:
    """Show one clone, and how far its training is."""
    with connect(server) as client:
        answer = client.get("/api/models/status", {"model_id": model_id})
    if as_json:
        print_json(answer.body)
    else:
        _show(answer.read(Model))


@models.command()
def watch(model_id: ModelId, *, server: Server) -> None:
    """Watch a training until it ends."""
    with connect(server) as client:
        _watch(client, model_id)


@models.command()
def cancel(model_id: ModelId, *, server: Server) -> None:
    """Cancel a training."""
    with connect(server) as client:
        client.post(f"/api/models/{model_id}/cancel")
    say(f"The training of clone {model_id} is being canceled.")


@models.command()
def delete(model_id: ModelId, yes: Yes = False, *, server: Server) -> None:
    """Delete a clone for good. Images made with it stay."""
    confirm(f"Delete clone {model_id} for good?", yes=yes)
    with connect(server) as client:
        client.delete(f"/api/models/{model_id}")
    say(f"Deleted clone {model_id}.")


def chosen_model(client: "Client", named: str) -> int:
    """The id as it was given, or of the clone that became ready last."""
    if named != LATEST:
        return int(named)
    every = client.every("/api/models", Page[Model])
    ready = [model for model in every if model.status == "Ready"]
    if ready:
        return max(ready, key=lambda model: (model.ready_at is not None, model.ready_at, model.id)).id
    training = [model for model in every if model.status == "Processing"]
    if training:
        raise CommandFailed(
            "None of your clones is ready yet.", f"Watch it: visiona models watch {training[0].id}"
        )
    raise CommandFailed("You have no clone that is ready.", "Train one: visiona train TRIGGER_WORD")


def _watch(client: "Client", model_id: int) -> None:
    def look() -> Model:
        return client.get("/api/models/status", {"model_id": model_id}).read(Model)

    model = wait(look, _sighting, again=f"visiona models watch {model_id}")
    if model.status == "Failed":
        reason = model.error.sentence() if model.error else "no reason was given"
        raise WorkFailed(f"The training of clone {model.id} failed: {reason}")
    say(f"Clone {model.id} is ready.", "green")
    note(f'Try it: visiona generate "a portrait of {model.trigger_word}"')


def _sighting(model: Model) -> Sighting:
    if model.status == "Ready":
        return Sighting(done=True, progress=1.0, label="Trained")
    return Sighting(done=model.status == "Failed", progress=model.progress, label="Training")


def _on_photos(model: Model) -> str:
    return f" on {model.photo_count} photos" if model.photo_count else ""


def _row(model: Model) -> list[Text]:
    return [
        cell(model.id),
        cell(model.trigger_word),
        status_cell(model.status, model.progress),
        cell(model.photo_count),
        time_cell(model.created_at),
    ]


def _show(model: Model) -> None:
    facts = {
        "Clone": cell(model.id),
        "Trigger word": cell(model.trigger_word),
        "Status": status_cell(model.status, model.progress),
        "Photos": cell(model.photo_count),
        "Created": time_cell(model.created_at),
        "Ready": time_cell(model.ready_at),
    }
    facts |= {name: cell(value) for name, value in sorted(model.parameters.items())}
    if model.error is not None:
        facts["Error"] = cell(model.error.sentence(), "red")
    print_facts(facts)
