"""The HTTP API: the contract of docs/openapi.json."""
