"""Schemas come from the provider, and may be anything."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from visiona.core.errors import Invalid
from visiona.generations.model import resolve_inputs


def schemas(style: Any, **others: Any) -> dict[str, Any]:
    return {"Input": {"properties": {"prompt": {}, "style": style}}, **others}


@pytest.mark.parametrize(
    "style",
    [
        {"$ref": "#/components/schemas/Missing"},
        {"type": "no such type"},
        {"pattern": "("},
        {"minLength": "three"},
        {"allOf": 7},
        7,
        None,
    ],
)
def test_what_cannot_be_applied_is_left_to_the_provider(style: Any) -> None:
    assert resolve_inputs(schemas(style), {"style": "bold"}, 1)["style"] == "bold"


def test_what_can_be_applied_is() -> None:
    style = {"allOf": [{"$ref": "#/components/schemas/Style"}]}
    with pytest.raises(Invalid):
        resolve_inputs(schemas(style, Style={"enum": ["bold"]}), {"style": "shy"}, 1)


def test_no_address_in_a_schema_is_fetched() -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/schema.json"
        resolve_inputs(schemas({"$ref": address}), {"style": "bold"}, 1)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == []
