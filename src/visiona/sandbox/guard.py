"""The one thing every sandbox server asks before it starts: is this production?"""


class SandboxInProductionError(RuntimeError):
    """A sandbox was asked to start in production: a setting points the wrong way."""


def refuse_production(environment: str) -> None:
    """Raise `SandboxInProductionError` where `environment` is `production`, however it is written."""
    if environment.strip().casefold() == "production":
        raise SandboxInProductionError(
            "the sandbox answers with made-up results and never runs in production"
        )
