"""The application: routes, their guard, and the life of what runs behind them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException

from visiona.sandbox.guard import refuse_production
from visiona.sandbox.replicate.api import (
    account,
    control,
    delivery,
    files,
    models,
    page,
    predictions,
    trainings,
)
from visiona.sandbox.replicate.api.requests import guard_token
from visiona.sandbox.replicate.config import ReplicateSandboxConfig
from visiona.sandbox.replicate.gateway import Gateway
from visiona.sandbox.replicate.problems import Problem, answer_framework, answer_problem
from visiona.sandbox.replicate.service import Sandbox

_MAX_JSON_BYTES = 64 * 1024 * 1024  # a zip of photos fits as a data URL


def create_app(config: ReplicateSandboxConfig) -> Litestar:
    """The sandbox as an ASGI application.

    Raises `SandboxInProductionError` where the environment is production. State lies under
    `config.data_dir`; one process at a time may use it.
    """
    refuse_production(config.environment)
    sandbox = Sandbox(config)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        await sandbox.start()
        try:
            yield
        finally:
            await sandbox.stop()

    return Litestar(
        route_handlers=[
            _provider_routes(),
            _control_routes(),
            files.download_file,
            delivery.deliver,
            page.show_page,
        ],
        dependencies={"sandbox": Provide(lambda: sandbox, sync_to_thread=False)},
        state=State({"sandbox": sandbox}),
        middleware=[Gateway()],
        exception_handlers={Problem: answer_problem, HTTPException: answer_framework},
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=_MAX_JSON_BYTES,
    )


def _provider_routes() -> Router:
    return Router(
        "/v1",
        guards=[guard_token],
        route_handlers=[
            account.show_account,
            account.list_hardware,
            account.show_webhook_secret,
            models.create_model,
            models.list_models,
            models.show_model,
            models.update_model,
            models.delete_model,
            models.show_readme,
            models.list_examples,
            models.list_versions,
            models.show_version,
            models.delete_version,
            trainings.create_training,
            trainings.list_trainings,
            trainings.show_training,
            trainings.cancel_training,
            predictions.create_prediction,
            predictions.list_predictions,
            predictions.show_prediction,
            predictions.cancel_prediction,
            files.create_file,
            files.list_files,
            files.show_file,
            files.delete_file,
        ],
    )


def _control_routes() -> Router:
    return Router(
        "/_sandbox",
        guards=[guard_token],
        route_handlers=[
            control.add_faults,
            control.list_faults,
            control.clear_faults,
            control.show_state,
            control.change_clock,
            control.reset,
        ],
    )
