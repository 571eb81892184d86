"""The customer portal: configurations and sessions."""

from typing import Final

from visiona.sandbox.stripe.api.subscriptions import PRORATION_BEHAVIOR
from visiona.sandbox.stripe.paging import PAGE
from visiona.sandbox.stripe.params import (
    Array,
    Boolean,
    Choice,
    Field,
    Hash,
    Integer,
    Metadata,
    Params,
    Text,
)
from visiona.sandbox.stripe.routes import Context, Route
from visiona.sandbox.stripe.store import Obj

_CONFIGURATION: Final = "billing_portal.configuration"
_LOCALES: Final = (
    "auto", "bg", "cs", "da", "de", "el", "en", "en-AU", "en-CA", "en-GB", "en-IE", "en-IN", "en-NZ",
    "en-SG", "es", "es-419", "et", "fi", "fil", "fr", "fr-CA", "hr", "hu", "id", "it", "ja", "ko", "lt",
    "lv", "ms", "mt", "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sl", "sv", "th", "tr", "vi", "zh",
    "zh-HK", "zh-TW",
)  # fmt: skip
_SWITCH: Final = Boolean(required=True)
_REASON: Final = Choice(
    (
        "customer_service",
        "low_quality",
        "missing_features",
        "other",
        "switched_service",
        "too_complex",
        "too_expensive",
        "unused",
    )
)
_PRODUCT: Final = Hash(
    {
        "adjustable_quantity": Hash(
            {"enabled": _SWITCH, "maximum": Integer(minimum=1), "minimum": Integer(minimum=0)}
        ),
        "prices": Array(Text(), required=True),
        "product": Text(required=True),
    }
)
_CONDITION: Final = Hash({"type": Choice(("decreasing_item_amount", "shortening_interval"), required=True)})


def _features(*, new: bool) -> dict[str, Field]:
    """What may be switched on; a new configuration says of each feature whether it is."""
    switch = Boolean(required=new)
    return {
        "customer_update": Hash(
            {
                "allowed_updates": Array(
                    Choice(("address", "email", "name", "phone", "shipping", "tax_id")), unset=True
                ),
                "enabled": switch,
            }
        ),
        "invoice_history": Hash({"enabled": _SWITCH}),
        "payment_method_update": Hash({"enabled": _SWITCH}),
        "subscription_cancel": Hash(
            {
                "cancellation_reason": Hash(
                    {"enabled": _SWITCH, "options": Array(_REASON, required=new, unset=True)}
                ),
                "enabled": switch,
                "mode": Choice(("at_period_end", "immediately")),
                "proration_behavior": PRORATION_BEHAVIOR,
            }
        ),
        "subscription_update": Hash(
            {
                "billing_cycle_anchor": Choice(("now", "unchanged")),
                "default_allowed_updates": Array(Choice(("price", "promotion_code", "quantity")), unset=True),
                "enabled": switch,
                "products": Array(_PRODUCT, unset=True, maximum=10),
                "proration_behavior": PRORATION_BEHAVIOR,
                "schedule_at_period_end": Hash({"conditions": Array(_CONDITION, unset=True)}),
                "trial_update_behavior": Choice(("continue_trial", "end_trial")),
            }
        ),
    }


_SHARED: Final[dict[str, Field]] = {
    "business_profile": Hash(
        {
            "headline": Text(unset=True, max_length=60),
            "privacy_policy_url": Text(unset=True),
            "terms_of_service_url": Text(unset=True),
        }
    ),
    "default_return_url": Text(unset=True),
    "metadata": Metadata(),
    "name": Text(unset=True),
}
_OF_SUBSCRIPTION: Final = {"subscription": Text(required=True)}
_FLOW: Final = Hash(
    {
        "after_completion": Hash(
            {
                "hosted_confirmation": Hash({"custom_message": Text(max_length=500)}),
                "redirect": Hash({"return_url": Text(required=True)}),
                "type": Choice(("hosted_confirmation", "portal_homepage", "redirect"), required=True),
            }
        ),
        "subscription_cancel": Hash(_OF_SUBSCRIPTION),
        "subscription_update": Hash(_OF_SUBSCRIPTION),
        "subscription_update_confirm": Hash(
            {
                **_OF_SUBSCRIPTION,
                "items": Array(
                    Hash({"id": Text(required=True), "price": Text(), "quantity": Integer(minimum=0)}),
                    required=True,
                ),
            }
        ),
        "type": Choice(
            (
                "payment_method_update",
                "subscription_cancel",
                "subscription_update",
                "subscription_update_confirm",
            ),
            required=True,
        ),
    }
)
_SESSION: Final[dict[str, Field]] = {
    "configuration": Text(),
    "customer": Text(required=True),
    "flow_data": _FLOW,
    "locale": Choice(_LOCALES),
    "return_url": Text(),
}


def create_configuration(ctx: Context, params: Params) -> Obj:
    return ctx.engine.portal.objects.create_configuration(params)


def show_configuration(ctx: Context, _: Params) -> Obj:
    return ctx.store.get(_CONFIGURATION, ctx.id)


def update_configuration(ctx: Context, params: Params) -> Obj:
    configuration = ctx.store.get(_CONFIGURATION, ctx.id)
    return ctx.engine.portal.objects.update_configuration(configuration, params)


def list_configurations(ctx: Context, params: Params) -> list[Obj]:
    return [
        configuration
        for configuration in ctx.store.all(_CONFIGURATION)
        if all(params.get(name) in {None, configuration[name]} for name in ("active", "is_default"))
    ]


def create_session(ctx: Context, params: Params) -> Obj:
    return ctx.engine.portal.objects.create_session(params)


ROUTES: Final = [
    Route(
        "POST",
        "/v1/billing_portal/configurations",
        {**_SHARED, "features": Hash(_features(new=True), required=True)},
        create_configuration,
    ),
    Route(
        "GET",
        "/v1/billing_portal/configurations",
        {**PAGE, "active": Boolean(), "is_default": Boolean()},
        list_configurations,
    ),
    Route("GET", "/v1/billing_portal/configurations/{id}", {}, show_configuration),
    Route(
        "POST",
        "/v1/billing_portal/configurations/{id}",
        {**_SHARED, "active": Boolean(), "features": Hash(_features(new=False))},
        update_configuration,
    ),
    Route("POST", "/v1/billing_portal/sessions", _SESSION, create_session),
]
