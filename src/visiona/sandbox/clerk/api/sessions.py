"""Sessions as the Backend API knows them."""

from visiona.sandbox.clerk.errors import not_found, refused
from visiona.sandbox.clerk.params import NEEDED, PAGE, TEXT, Field, Params
from visiona.sandbox.clerk.routes import Answer, Context, Route
from visiona.sandbox.clerk.sessions import TOKEN_SECONDS, is_alive

_STATUSES = ("abandoned", "active", "ended", "expired", "removed", "replaced", "revoked", "pending")


def create_session(ctx: Context, params: Params) -> Answer:
    """Without any factor having been checked: real instances have this for tests only."""
    sessions, people = ctx.sandbox.sessions, ctx.sandbox.people
    user = people.get(params["user_id"])
    people.check_not_barred(user)
    opened = sessions.open(user, sessions.new_client(), first_factor=False, second_factor=False)
    return sessions.shown(opened)


def list_sessions(ctx: Context, params: Params) -> Answer:
    """Newest first."""
    user_id, client_id = params.get("user_id"), params.get("client_id")
    if user_id is None and client_id is None:
        text = "At least one of client_id, user_id must be included."
        raise refused("form_param_missing", "is missing", text, param="user_id")
    sessions = ctx.sandbox.sessions
    if user_id is not None:
        found = sessions.of_user(user_id)
    else:
        client_id = str(client_id)
        found = [
            sessions.get(one["id"]) for one in ctx.sandbox.store.where("session", "client_id", client_id)
        ]
    wanted = [
        one
        for one in found[::-1]
        if client_id in {None, one["client_id"]} and params.get("status") in {None, one["status"]}
    ]
    start = params.get("offset") or 0
    return [sessions.shown(one) for one in wanted[start : start + (params.get("limit") or 10)]]


def show_session(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.sessions.shown(ctx.sandbox.sessions.get(ctx.id))


def revoke_session(ctx: Context, _: Params) -> Answer:
    sessions = ctx.sandbox.sessions
    return sessions.shown(sessions.end(sessions.get(ctx.id), "revoked"))


def create_token(ctx: Context, params: Params) -> Answer:
    session = ctx.sandbox.sessions.get(ctx.id)
    if not is_alive(session):
        raise not_found("Session", ctx.id)
    seconds = params.get("expires_in_seconds") or TOKEN_SECONDS
    return {"object": "token", "jwt": ctx.sandbox.sessions.token(session, azp=None, seconds=seconds)}


ROUTES = [
    Route("POST", "/v1/sessions", {"user_id": NEEDED, "active_organization_id": TEXT}, create_session),
    Route(
        "GET",
        "/v1/sessions",
        {**PAGE, "client_id": TEXT, "user_id": TEXT, "status": Field(choices=_STATUSES)},
        list_sessions,
    ),
    Route("GET", "/v1/sessions/{id}", {}, show_session),
    Route("POST", "/v1/sessions/{id}/revoke", {}, revoke_session),
    Route(
        "POST",
        "/v1/sessions/{id}/tokens",
        {"expires_in_seconds": Field("whole", least=30, most=315360000)},
        create_token,
    ),
]
