"""Is it alive, and can it serve?"""

from litestar import Response, get

from visiona.entrypoints.api.security import TheApp


@get("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """The process runs."""
    return {"status": "ok"}


@get("/readyz", include_in_schema=False)
async def readyz(app: TheApp) -> Response[dict[str, str]]:
    """Database, migrations and storage work now."""
    checks = await app.readiness()
    ready = all(result == "ok" for result in checks.values())
    return Response(checks, status_code=200 if ready else 503, headers={"Cache-Control": "no-store"})


HANDLERS = [healthz, readyz]
