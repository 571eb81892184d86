"""Sign-in tokens."""

from urllib.parse import urlencode

from visiona.sandbox.clerk.params import NEEDED, TEXT, Field, Params
from visiona.sandbox.clerk.routes import Answer, Context, Route
from visiona.sandbox.clerk.wire import shown

_DEFAULT_SECONDS = 30 * 24 * 3600


def create_sign_in_token(ctx: Context, params: Params) -> Answer:
    user = ctx.sandbox.people.get(params["user_id"])
    token = ctx.sandbox.sign_ins.new_ticket(user, params.get("expires_in_seconds") or _DEFAULT_SECONDS)
    accept = urlencode({"ticket": token["token"]})
    return {**shown(token), "url": f"{ctx.sandbox.config.public_url}/v1/tickets/accept?{accept}"}


def revoke_sign_in_token(ctx: Context, _: Params) -> Answer:
    return shown(ctx.sandbox.sign_ins.revoke_ticket(ctx.id))


ROUTES = [
    Route(
        "POST",
        "/v1/sign_in_tokens",
        {"user_id": NEEDED, "org_id": TEXT, "expires_in_seconds": Field("whole", least=1)},
        create_sign_in_token,
    ),
    Route("POST", "/v1/sign_in_tokens/{id}/revoke", {}, revoke_sign_in_token),
]
