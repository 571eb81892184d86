"""Users."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, cast

from visiona.sandbox.clerk.authenticator import is_secret
from visiona.sandbox.clerk.config import METADATA_APART_SINCE
from visiona.sandbox.clerk.errors import (
    ClerkError,
    bad_request,
    invalid_format,
    invalid_value,
    refused,
    unknown_param,
)
from visiona.sandbox.clerk.params import FLAG, MAP, NEEDED, PAGE, TEXT, TEXTS, WHOLE, Field, Fields, Params
from visiona.sandbox.clerk.passwords import check_digest
from visiona.sandbox.clerk.people import Standing
from visiona.sandbox.clerk.routes import Answer, Context, Route
from visiona.sandbox.clerk.store import Obj

_METADATA: Final[Fields] = dict.fromkeys(("public_metadata", "private_metadata", "unsafe_metadata"), MAP)
_PLAIN: Final[Fields] = {
    "external_id": TEXT,
    "first_name": TEXT,
    "last_name": TEXT,
    "locale": TEXT,
    "delete_self_enabled": FLAG,
    "create_organization_enabled": FLAG,
    "create_organizations_limit": WHOLE,
    "bypass_client_trust": FLAG,
}
_SECRETS: Final[Fields] = {
    "password": TEXT,
    "password_digest": TEXT,
    "password_hasher": TEXT,
    "skip_password_checks": FLAG,
    "totp_secret": TEXT,
    "backup_codes": TEXTS,
}
_DATES: Final[Fields] = {"legal_accepted_at": TEXT, "created_at": TEXT, "skip_legal_checks": FLAG}

_BOUNDS: Final = tuple(
    f"{name}_{side}"
    for name in ("created_at", "last_active_at", "last_sign_in_at")
    for side in ("before", "after")
)

# Phone numbers, wallets and user names are switched off: Clerk knows no such parameters then.
_FILTERS: Final[Fields] = {
    "email_address": TEXTS,
    "external_id": TEXTS,
    "user_id": TEXTS,
    "query": TEXT,
    "email_address_query": TEXT,
    "name_query": TEXT,
    "banned": FLAG,
    **dict.fromkeys(_BOUNDS, WHOLE),
}
_ORDERS: Final = ("created_at", "updated_at", "first_name", "last_name", "last_active_at", "last_sign_in_at")


def create_user(ctx: Context, params: Params) -> Answer:
    people = ctx.sandbox.people
    addresses = _addresses(params)
    if not addresses and not params.get("skip_user_requirement"):
        raise _incomplete("email_address")
    given = params.get("password") or params.get("password_digest")
    if not given and not params.get("skip_password_requirement"):
        raise _incomplete("password")
    fields: Obj = {name: params[name] for name in (*_PLAIN, *_METADATA) if params.get(name) is not None}
    fields |= _secret_fields(ctx, params) | _date_fields(params)
    if params.get("banned"):
        fields["banned"] = True
    user = people.create(fields, addresses)
    if params.get("locked"):
        people.lock(user)
    return people.shown(user)


def list_users(ctx: Context, params: Params) -> Answer:
    found = _ordered(_filtered(ctx, params), params.get("order_by") or "-created_at")
    start = params.get("offset") or 0
    after = params.get("starting_after")
    if after is not None:
        if start or (params.get("order_by") or "created_at").lstrip("+-") != "created_at":
            text = "starting_after goes with an order by created_at and without offset."
            raise refused("form_param_value_invalid", "is invalid", text, param="starting_after")
        ids = [user["id"] for user in found]
        start = ids.index(after) + 1 if after in ids else len(ids)
    page = found[start : start + (params.get("limit") or 10)]
    return [ctx.sandbox.people.shown(user) for user in page]


def count_users(ctx: Context, params: Params) -> Answer:
    return {"object": "total_count", "total_count": len(_filtered(ctx, params))}


def show_user(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.people.shown(ctx.sandbox.people.get(ctx.id))


def update_user(ctx: Context, params: Params) -> Answer:
    people = ctx.sandbox.people
    user = people.get(ctx.id)
    if ctx.version >= METADATA_APART_SINCE:
        for name in _METADATA:
            if name in params:
                raise unknown_param(name)
    for name in (*_PLAIN, *_METADATA):
        if params.get(name) is not None:
            user[name] = params[name]
        elif name in params and name in {"external_id", "first_name", "last_name", "locale"}:
            user[name] = None
    user |= _secret_fields(ctx, params) | _date_fields(params)
    if params.get("primary_email_address_id") is not None:
        people.make_primary(user, people.email(params["primary_email_address_id"]))
    people.save(user)
    if params.get("sign_out_of_other_sessions"):
        ctx.sandbox.sessions.end_all(user["id"], "revoked")
    return people.shown(user)


def merge_metadata(ctx: Context, params: Params) -> Answer:
    user = ctx.sandbox.people.get(ctx.id)
    for name, value in params.items():
        user[name] = _merged(user[name], value or {})
    return ctx.sandbox.people.shown(ctx.sandbox.people.save(user))


def replace_metadata(ctx: Context, params: Params) -> Answer:
    user = ctx.sandbox.people.get(ctx.id)
    for name, value in params.items():
        user[name] = value or {}
    return ctx.sandbox.people.shown(ctx.sandbox.people.save(user))


def delete_user(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.people.delete(ctx.sandbox.people.get(ctx.id))


def verify_password(ctx: Context, params: Params) -> Answer:
    user = ctx.sandbox.people.get(ctx.id)
    if user["_password"] is None:
        text = "This user does not have a password set for their account"
        raise bad_request("no_password_set", "no password set", text)
    if not ctx.sandbox.people.has_password(user, params["password"]):
        text = "The provided password is not the one the user has set"
        raise refused("incorrect_password", "incorrect password", text)
    return {"verified": True}


def verify_totp(ctx: Context, params: Params) -> Answer:
    user = ctx.sandbox.people.get(ctx.id)
    if user["_totp_secret"] is None:
        text = "This user does not have TOTP enabled for their account"
        raise bad_request("totp_disabled", "totp disabled", text)
    kind = ctx.sandbox.people.use_code(user, params["code"])
    if kind is None:
        text = "The provided TOTP code is incorrect"
        raise refused("totp_incorrect_code", "incorrect TOTP code", text)
    return {"verified": True, "code_type": kind}


def disable_totp(ctx: Context, _: Params) -> Answer:
    """The authenticator goes, and with the last factor its backup codes."""
    user = ctx.sandbox.people.get(ctx.id)
    ctx.sandbox.people.set_totp(user, None)
    ctx.sandbox.people.save(user)
    return {"user_id": user["id"]}


def remove_password(ctx: Context, params: Params) -> Answer:
    user = ctx.sandbox.people.get(ctx.id)
    user["_password"] = None
    ctx.sandbox.people.save(user)
    if params.get("sign_out_of_other_sessions"):
        ctx.sandbox.sessions.end_all(user["id"], "revoked")
    return ctx.sandbox.people.shown(user)


def ban_user(ctx: Context, _: Params) -> Answer:
    """Banned, and signed out everywhere."""
    people = ctx.sandbox.people
    user = people.save(people.get(ctx.id) | {"banned": True})
    ctx.sandbox.sessions.end_all(user["id"], "revoked")
    return people.shown(user)


def unban_user(ctx: Context, _: Params) -> Answer:
    people = ctx.sandbox.people
    return people.shown(people.save(people.get(ctx.id) | {"banned": False}))


def lock_user(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.people.shown(ctx.sandbox.people.lock(ctx.sandbox.people.get(ctx.id)))


def unlock_user(ctx: Context, _: Params) -> Answer:
    return ctx.sandbox.people.shown(ctx.sandbox.people.unlock(ctx.sandbox.people.get(ctx.id)))


ROUTES = [
    Route(
        "POST",
        "/v1/users",
        {
            **_PLAIN,
            **_METADATA,
            **_SECRETS,
            **_DATES,
            "email_address": TEXTS,
            "email_address_identification_status": Field("texts", choices=("verified", "reserved")),
            "skip_password_requirement": FLAG,
            "skip_user_requirement": FLAG,
            "banned": FLAG,
            "locked": FLAG,
        },
        create_user,
    ),
    Route("GET", "/v1/users", {**PAGE, **_FILTERS, "starting_after": TEXT, "order_by": TEXT}, list_users),
    Route("GET", "/v1/users/count", _FILTERS, count_users),
    Route("GET", "/v1/users/{id}", {}, show_user),
    Route(
        "PATCH",
        "/v1/users/{id}",
        {
            **_PLAIN,
            **_METADATA,
            **_SECRETS,
            **_DATES,
            "primary_email_address_id": TEXT,
            "notify_primary_email_address_changed": FLAG,
            "sign_out_of_other_sessions": FLAG,
        },
        update_user,
    ),
    Route("PATCH", "/v1/users/{id}/metadata", _METADATA, merge_metadata),
    Route("PUT", "/v1/users/{id}/metadata", _METADATA, replace_metadata),
    Route("DELETE", "/v1/users/{id}", {}, delete_user),
    Route("POST", "/v1/users/{id}/verify_password", {"password": NEEDED}, verify_password),
    Route("POST", "/v1/users/{id}/verify_totp", {"code": NEEDED}, verify_totp),
    Route("DELETE", "/v1/users/{id}/totp", {}, disable_totp),
    Route("DELETE", "/v1/users/{id}/mfa", {}, disable_totp),
    Route("POST", "/v1/users/{id}/remove_password", {"sign_out_of_other_sessions": FLAG}, remove_password),
    Route("POST", "/v1/users/{id}/ban", {}, ban_user),
    Route("POST", "/v1/users/{id}/unban", {}, unban_user),
    Route("POST", "/v1/users/{id}/lock", {}, lock_user),
    Route("POST", "/v1/users/{id}/unlock", {}, unlock_user),
]


def _addresses(params: Params) -> list[tuple[str, Standing]]:
    addresses: list[str] = params.get("email_address") or []
    standings: list[Standing] = params.get("email_address_identification_status") or []
    if standings and len(standings) != len(addresses):
        text = "There must be one status for each email address."
        name = "email_address_identification_status"
        raise refused("form_param_value_invalid", "is invalid", text, param=name)
    if not standings:
        return [(address, "verified") for address in addresses]
    return list(zip(addresses, standings, strict=True))


def _incomplete(name: str) -> ClerkError:
    text = (
        f"The following fields are required by this instance and are missing or empty: {name}. Check the "
        "settings of the instance."
    )
    return refused("form_data_missing", "missing data", text, param=name)


def _secret_fields(ctx: Context, params: Params) -> Obj:
    """The password and second factors of a request, as fields of the record."""
    found: Obj = {}
    people = ctx.sandbox.people
    if params.get("password") is not None:
        people.set_password(found, params["password"], checked=not params.get("skip_password_checks"))
    if params.get("password_digest") is not None:
        if params.get("password_hasher") is None:
            raise invalid_value("password_hasher", None)
        check_digest(params["password_digest"], params["password_hasher"])
        found["_password"] = params["password_digest"]
    if params.get("totp_secret") is not None:
        if not is_secret(params["totp_secret"]):
            raise invalid_value("totp_secret", "the secret")
        people.set_totp(found, params["totp_secret"])
    if params.get("backup_codes") is not None:
        found["_backup_codes"] = params["backup_codes"]
    return found


def _date_fields(params: Params) -> Obj:
    found: Obj = {}
    for name in ("legal_accepted_at", "created_at"):
        text = params.get(name)
        if text is not None:
            found[name] = _milliseconds(name, text)
    return found


def _milliseconds(name: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid_format(name, "must be a time as RFC 3339 writes it") from error
    if moment.tzinfo is None:
        raise invalid_format(name, "must be a time as RFC 3339 writes it")
    return int(moment.timestamp() * 1000)


def _filtered(ctx: Context, params: Params) -> list[Obj]:
    people = ctx.sandbox.people
    tests: list[Callable[[Obj], bool]] = []
    if (wanted := params.get("user_id")) is not None:
        tests.append(lambda user: user["id"] in wanted)
    if (external := params.get("external_id")) is not None:
        tests.append(lambda user: user["external_id"] in external)
    if (addresses := params.get("email_address")) is not None:
        lowered = {address.strip().lower() for address in addresses}
        tests.append(lambda user: not lowered.isdisjoint(_texts(people.emails(user["id"]))))
    if (banned := params.get("banned")) is not None:
        tests.append(lambda user: user["banned"] == banned)
    texts = {name: params.get(name) for name in ("query", "email_address_query", "name_query")}
    tests.extend(_matcher(ctx, name, text.lower()) for name, text in texts.items() if text)
    bounds = ((name, params.get(name)) for name in _BOUNDS)
    tests.extend(_bound(name, limit) for name, limit in bounds if limit is not None)
    return [user for user in _candidates(ctx, params) if all(test(user) for test in tests)]


def _candidates(ctx: Context, params: Params) -> list[Obj]:
    """Those who may fit, oldest first; for the lists that apps ask for all the time by an index."""
    people, store = ctx.sandbox.people, ctx.sandbox.store
    if (ids := params.get("user_id")) is not None:
        found = [store.find("user", id_) for id_ in ids]
    elif (addresses := params.get("email_address")) is not None:
        found = [store.find("user", owner) for address in addresses for owner in people.owners(address)]
    elif (external := params.get("external_id")) is not None:
        found = [user for id_ in external for user in store.where("user", "external_id", id_)]
    else:
        return store.all("user")
    unique = {user["id"]: user for user in found if user is not None}
    return sorted(unique.values(), key=lambda user: (user["created_at"], user["id"]))


def _matcher(ctx: Context, name: str, text: str) -> Callable[[Obj], bool]:
    def fits(user: Obj) -> bool:
        addresses = _texts(ctx.sandbox.people.emails(user["id"]))
        names = [user["first_name"] or "", user["last_name"] or ""]
        places = {"email_address_query": addresses, "name_query": names}
        found = places.get(name, [*addresses, *names, user["id"]])
        return any(text in place.lower() for place in found)

    return fits


def _bound(name: str, limit: int) -> Callable[[Obj], bool]:
    field, _, side = name.rpartition("_")

    def fits(user: Obj) -> bool:
        value = user[field]
        return value is not None and (value < limit if side == "before" else value > limit)

    return fits


def _texts(emails: list[Obj]) -> list[str]:
    return [email["email_address"] for email in emails]


def _ordered(users: list[Obj], order: str) -> list[Obj]:
    """`users` come oldest first, which decides between equals."""
    field = order.lstrip("+-")
    if field not in _ORDERS:
        raise invalid_value("order_by", order)
    empty: Any = "" if field.endswith("name") else 0
    rows = sorted(users, key=lambda user: user[field] or empty)
    return rows[::-1] if order.startswith("-") else rows


def _merged(old: Obj, new: Obj) -> Obj:
    """A deep merge in which null takes a key away."""
    merged = dict(old)
    for name, value in new.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], cast("Obj", value))
        else:
            merged[name] = _merged({}, cast("Obj", value)) if isinstance(value, dict) else value
    return merged
