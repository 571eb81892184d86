"""The OpenAPI 3.1 document: what Litestar reads off the handlers, and what it cannot know."""

from typing import Any

import msgspec
from litestar import Request, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPI

from visiona.entrypoints.api.problems import MEDIA_TYPE, FieldProblem, Problem
from visiona.entrypoints.api.security import PUBLIC

_PUBLIC_OPERATIONS = frozenset({"sign_up", "log_in", "log_in_page", "sign_up_page"})
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]

# Bodies that are read as they stream in, or whose fields depend on the clone.
_UPLOAD_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["photos"],
                "properties": {"photos": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        }
    },
}


class DocumentPlugin(JsonRenderPlugin):
    """Serves the document at /api/openapi.json."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        del request
        return msgspec.json.encode(complete(openapi_schema))


def config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Visiona",
        version="1",
        description="Personal AI clones: upload photos, train a clone, generate images, keep them private.",
        path="/api/openapi.json",
        use_handler_docstrings=True,
        create_examples=False,
        operation_id_creator=_operation_id,
        render_plugins=[DocumentPlugin(path="/")],
        openapi_router=Router(
            "/api/openapi.json", route_handlers=[], opt={"auth": PUBLIC}, include_in_schema=False
        ),
    )


def document(schema: OpenAPI) -> dict[str, Any]:
    """The whole document as it is served."""
    return complete(schema.to_schema())


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add security, problem documents and the streamed bodies to what Litestar generated."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "visiona_session"},
    }
    _, definitions = msgspec.json.schema_components(
        [Problem, FieldProblem], ref_template="#/components/schemas/{name}"
    )
    components.setdefault("schemas", {}).update(definitions)
    for path in document["paths"].values():
        for operation in path.values():
            _complete_operation(operation)
    document["paths"]["/api/photos/upload"]["post"]["requestBody"] = _UPLOAD_BODY
    return document


def _complete_operation(operation: dict[str, Any]) -> None:
    public = operation["operationId"] in _PUBLIC_OPERATIONS
    operation["security"] = [] if public else _SECURITY
    operation["responses"].pop("400", None)
    operation["responses"]["default"] = {
        "description": "A problem (RFC 9457): `code` is stable, `detail` says what to do.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _operation_id(handler: HTTPRouteHandler, _method: Any, _path: Any) -> str:
    return handler.handler_name
