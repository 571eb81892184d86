"""`python -m benchmarks.bare_hello PORT`: the smallest application on Visiona's framework and web server."""

import sys

import uvicorn
from litestar import Litestar, get


@get("/healthz", sync_to_thread=False)
def healthz() -> dict[str, str]:
    return {"status": "ok"}


def main() -> None:
    app = Litestar([healthz], openapi_config=None, logging_config=None)
    port = int(sys.argv[1])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_config=None, server_header=False)


if __name__ == "__main__":
    main()
