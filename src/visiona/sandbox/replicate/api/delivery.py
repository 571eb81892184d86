"""Where finished files are fetched: the sandbox's `replicate.delivery`."""

import mimetypes

from litestar import get
from litestar.params import FromPath
from litestar.response import File

from visiona.sandbox.replicate.problems import not_found
from visiona.sandbox.replicate.service import TheSandbox


@get("/delivery/xezq/{token:str}/{name:str}", sync_to_thread=False)
def deliver(sandbox: TheSandbox, token: FromPath[str], name: FromPath[str]) -> File:
    """A picture or a weights tar. The link is the permission; it dies with the data behind it."""
    sandbox.runner.sweep()
    job = sandbox.store.jobs.get(sandbox.store.tokens.get(token, ""))
    if job is None:
        raise not_found()
    if job.kind == "training" and name == "trained_model.tar":
        path = sandbox.store.weights_path(job.id)
    elif name in job.outputs:
        path = sandbox.store.output_path(job.id, name)
    else:
        raise not_found()
    if not path.is_file():
        raise not_found()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return File(path, filename=name, media_type=kind, content_disposition_type="inline")
