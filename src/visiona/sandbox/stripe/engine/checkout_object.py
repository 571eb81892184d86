"""What a checkout session looks like when it is made."""

from typing import Any, Final

from visiona.sandbox.stripe.engine.money import price_amount
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj

_GIVEN: Final = (
    "allow_promotion_codes",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "consent_collection",
    "customer",
    "customer_email",
    "integration_identifier",
    "locale",
    "origin_context",
    "submit_type",
    "success_url",
)


def session_object(
    id_: str, params: Obj, items: list[Obj], *, due: int, currency: str | None, now: int
) -> Obj:
    """An open session; `due` is what is to be paid today."""
    email: Any = params.get("customer_email")
    mode: str = params["mode"]
    session: Obj = {
        "id": id_,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": due if items else None,
        "amount_total": due if items else None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "branding_settings": None,
        "cancel_url": None,
        "client_reference_id": None,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": now,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer": None,
        "customer_account": None,
        "customer_creation": _customer_creation(params),
        "customer_details": customer_details(email, None) if email else None,
        "customer_email": None,
        "discounts": [],
        "expires_at": params["expires_at"],
        "integration_identifier": None,
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": None,
        "metadata": params["metadata"],
        "mode": mode,
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": params.get("payment_method_collection", "always")
        if mode == "subscription"
        else "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": {
            "allow_redisplay_filters": ["always"],
            "payment_method_remove": "disabled",
            "payment_method_save": None,
        },
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": None,
        "wallet_options": None,
        "_challenge": None,
        "_intent": None,
        "_line_items": {
            "object": "list",
            "data": items,
            "has_more": False,
            "url": f"/v1/checkout/sessions/{id_}/line_items",
        },
        "_wishes": {
            name: params[name]
            for name in ("subscription_data", "payment_intent_data", "setup_intent_data")
            if name in params
        },
    }
    return session | {name: params[name] for name in _GIVEN if name in params}


def line_item_object(price: Obj, quantity: int, description: str, metadata: dict[str, str]) -> Obj:
    amount = price_amount(price, quantity)
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": price["currency"],
        "description": description,
        "metadata": metadata,
        "price": price,
        "quantity": quantity,
    }


def customer_details(email: str | None, name: str | None) -> Obj:
    return {
        "address": None,
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _customer_creation(params: Obj) -> str | None:
    if params.get("customer") is not None:
        return None
    if params["mode"] == "subscription":
        return "always"
    return params.get("customer_creation", "if_required")
