"""Keys of the instance, testing tokens, and clients as the Backend API knows them."""

import secrets

from visiona.sandbox.clerk.errors import bad_request, not_found
from visiona.sandbox.clerk.minting import OTHER_KEYS
from visiona.sandbox.clerk.params import NEEDED, Params
from visiona.sandbox.clerk.routes import Answer, Context, Route

_TESTING_SECONDS = 3600


def show_keys(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.keys.key_set()


def show_other_keys(ctx: Context, _: Params) -> Answer:
    """The key that tokens with a defect point to; nobody should come for it."""
    return ctx.sandbox.mint.other_key_set()


def create_testing_token(ctx: Context, _: Params) -> Answer:
    until = ctx.sandbox.clock.now() // 1000 + _TESTING_SECONDS
    token = f"{until}-c_{secrets.token_urlsafe(32)}"
    return {"object": "testing_token", "token": token, "expires_at": until}


def show_handshake_payload(ctx: Context, params: Params) -> Answer:
    return {"directives": ctx.sandbox.handshakes.directives_of(params["nonce"])}


def show_client(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.sessions.shown_client(ctx.sandbox.sessions.client(ctx.id))


def verify_client(ctx: Context, params: Params) -> Answer:
    """The client behind a client's or a session's token."""
    sessions = ctx.sandbox.sessions
    client = sessions.read_client_token(params["token"])
    if client is None:
        claims = ctx.sandbox.keys.read(params["token"])
        if claims is None:
            raise bad_request("token_invalid", "Invalid token", "The token is invalid.")
        if "sid" not in claims or "sub" not in claims:
            raise not_found("Client")
        client = sessions.client(sessions.get(claims["sid"])["client_id"])
    return sessions.shown_client(client)


ROUTES = [
    Route("GET", "/.well-known/jwks.json", {}, show_keys, side="frontend", loose=True),
    Route("GET", OTHER_KEYS, {}, show_other_keys, side="frontend", loose=True),
    Route("GET", "/v1/jwks", {}, show_keys),
    Route("POST", "/v1/testing_tokens", {}, create_testing_token),
    Route("GET", "/v1/clients/handshake_payload", {"nonce": NEEDED}, show_handshake_payload),
    Route("GET", "/v1/clients/{id}", {}, show_client),
    Route("POST", "/v1/clients/verify", {"token": NEEDED}, verify_client),
]
