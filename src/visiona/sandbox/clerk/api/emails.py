"""E-mail addresses of users."""

from visiona.sandbox.clerk.errors import ClerkError
from visiona.sandbox.clerk.params import FLAG, NEEDED, Field, Params
from visiona.sandbox.clerk.people import is_verified
from visiona.sandbox.clerk.routes import Answer, Context, Route
from visiona.sandbox.clerk.wire import show_email

_FLAGS = {"verified": FLAG, "primary": FLAG, "notify_primary_email_address_changed": FLAG}


def create_email(ctx: Context, params: Params) -> Answer:
    people = ctx.sandbox.people
    user = people.get(params["user_id"])
    standing = "verified" if params.get("verified") else "unverified"
    email = people.add_email(user, params["email_address"], standing)
    if params.get("primary"):
        people.make_primary(user, email)
        people.save(user)
    return show_email(email)


def show(ctx: Context, _: Params) -> Answer:
    return show_email(ctx.sandbox.people.email(ctx.id))


def update_email(ctx: Context, params: Params) -> Answer:
    people = ctx.sandbox.people
    email = people.email(ctx.id)
    if params.get("verified") is True and not is_verified(email):
        try:
            email = people.claim_email(email, "admin")
        except ClerkError as error:  # this call documents a conflict where others refuse the parameter
            error.status = 409
            raise
    if params.get("verified") is False and is_verified(email):
        email = people.unclaim_email(email)
    if params.get("primary"):
        user = people.get(email["user_id"])
        people.make_primary(user, email)
        people.save(user)
    return show_email(email)


def delete_email(ctx: Context, _: Params) -> Answer:
    ctx.sandbox.people.delete_email(ctx.sandbox.people.email(ctx.id))
    return {"object": "email_address", "id": ctx.id, "deleted": True}


def replace_emails(ctx: Context, params: Params) -> Answer:
    people = ctx.sandbox.people
    standing = params.get("identification_status", "verified")
    return show_email(people.replace_emails(people.get(ctx.id), params["email_address"], standing))


ROUTES = [
    Route(
        "POST", "/v1/email_addresses", {"user_id": NEEDED, "email_address": NEEDED, **_FLAGS}, create_email
    ),
    Route("GET", "/v1/email_addresses/{id}", {}, show),
    Route("PATCH", "/v1/email_addresses/{id}", _FLAGS, update_email),
    Route("DELETE", "/v1/email_addresses/{id}", {}, delete_email),
    Route(
        "PUT",
        "/v1/users/{id}/email_address",
        {
            "email_address": NEEDED,
            "identification_status": Field(nullable=False, choices=("verified", "reserved", "unverified")),
            "notify_primary_email_address_changed": FLAG,
        },
        replace_emails,
    ),
]
