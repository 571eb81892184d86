"""The OpenAPI 3.1 document: what Litestar reads off the handlers, and what it cannot know."""

from typing import Any

import msgspec
from litestar import Request, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import OpenAPI

from visiona.entrypoints.api.access import ACCESS, Identity
from visiona.entrypoints.api.problems import MEDIA_TYPE, FieldProblem, Problem

_SESSION: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]

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
_IMAGE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "binary"}},
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
        openapi_router=Router("/api/openapi.json", route_handlers=[], include_in_schema=False),
    )


def document(schema: OpenAPI) -> dict[str, Any]:
    """The whole document as it is served."""
    return complete(schema.to_schema())


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add security, problem documents and the streamed bodies to what Litestar generated."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A session's access token."},
        "cookie": {"type": "apiKey", "in": "cookie", "name": "visiona_session"},
        "api_key": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "vsk_...",
            "description": "An API key that has the scope which is named.",
        },
    }
    _, definitions = msgspec.json.schema_components(
        [Problem, FieldProblem], ref_template="#/components/schemas/{name}"
    )
    components.setdefault("schemas", {}).update(definitions)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["security"] = _security(f"{method.upper()} {path}")
            _complete_operation(operation)
    document["paths"]["/api/photos/upload"]["post"]["requestBody"] = _UPLOAD_BODY
    document["paths"]["/api/provenance/check"]["post"]["requestBody"] = _IMAGE_BODY
    return document


def _security(name: str) -> list[dict[str, list[str]]]:
    """What one of has to be sent; what an API key needs is named with it."""
    row = ACCESS[name]
    if row.identity is Identity.PUBLIC:
        return []
    return _SESSION if row.scope is None else [*_SESSION, {"api_key": [row.scope.value]}]


def _complete_operation(operation: dict[str, Any]) -> None:
    operation["responses"].pop("400", None)
    operation["responses"]["default"] = {
        "description": "A problem (RFC 9457): `code` is stable, `detail` says what to do.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _operation_id(handler: HTTPRouteHandler, _method: Any, _path: Any) -> str:
    return handler.handler_name
