"""Portal configurations and sessions as objects."""

from typing import Any, Final

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.prices import Prices
from visiona.sandbox.stripe.engine.subscriptions.objects import ENDED, items_of
from visiona.sandbox.stripe.errors import invalid
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.params import merge_metadata
from visiona.sandbox.stripe.store import Obj

_FEATURE_OF_FLOW: Final = {
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}
_REASONS: Final = ("too_expensive", "missing_features", "switched_service", "unused", "other")


class PortalObjects:
    def __init__(self, books: Books, prices: Prices) -> None:
        self._books = books
        self._prices = prices

    def create_configuration(self, params: Obj) -> Obj:
        """Raises a `StripeError` for prices that are not there, or not of their product."""
        now = self._books.now()
        configuration: Obj = {
            "id": new_id("bpc"),
            "object": "billing_portal.configuration",
            "active": True,
            "application": None,
            "business_profile": {
                "headline": None,
                "privacy_policy_url": None,
                "terms_of_service_url": None,
            }
            | params.get("business_profile", {}),
            "created": now,
            "default_return_url": params.get("default_return_url"),
            "features": self._features({}, params["features"]),
            "is_default": False,
            "livemode": False,
            "login_page": {"enabled": False, "url": None},
            "metadata": merge_metadata({}, params.get("metadata", {})),
            "name": params.get("name"),
            "updated": now,
        }
        return self._books.add(configuration, "billing_portal.configuration.created")

    def update_configuration(self, configuration: Obj, params: Obj) -> Obj:
        with self._books.changing(configuration, "billing_portal.configuration.updated"):
            for name in ("active", "default_return_url", "name"):
                if name in params:
                    configuration[name] = params[name]
            configuration["business_profile"] |= params.get("business_profile", {})
            if "metadata" in params:
                configuration["metadata"] = merge_metadata(configuration["metadata"], params["metadata"])
            configuration["features"] = self._features(configuration["features"], params.get("features", {}))
            configuration["updated"] = self._books.now()
        return configuration

    def create_session(self, params: Obj) -> Obj:
        """Raises a `StripeError` where the configuration is missing or does not allow the flow."""
        customer = self._books.customer(params["customer"])
        configuration = self._configuration(params)
        id_ = new_id("bps")
        session: Obj = {
            "id": id_,
            "object": "billing_portal.session",
            "after_expiration": None,
            "configuration": configuration["id"],
            "created": self._books.now(),
            "customer": customer["id"],
            "customer_account": None,
            "flow": self._flow(params.get("flow_data"), customer, configuration),
            "livemode": False,
            "locale": params.get("locale"),
            "on_behalf_of": None,
            "return_url": params.get("return_url") or configuration["default_return_url"],
            "url": self._books.links.portal(id_),
            "_challenge": None,
            "_flow_done": False,
            "_seen_at": None,
        }
        return self._books.add(session, "billing_portal.session.created")

    def allowed_prices(self, configuration: Obj) -> list[str]:
        """The ids of all prices that a subscription may change to."""
        products: list[Obj] = configuration["features"]["subscription_update"]["_products"]
        return [price for product in products for price in product["prices"]]

    def _configuration(self, params: Obj) -> Obj:
        if "configuration" not in params:
            raise invalid(
                "No configuration provided and your test mode default configuration has not been created. "
                "Provide a configuration or create your default by saving your customer portal settings in "
                "test mode at https://dashboard.stripe.com/test/settings/billing/portal."
            )
        configuration = self._books.store.get(
            "billing_portal.configuration", params["configuration"], param="configuration"
        )
        if not configuration["active"]:
            raise invalid(
                "The configuration is inactive and cannot be used for new sessions.", param="configuration"
            )
        return configuration

    def _features(self, old: Obj, given: Obj) -> Obj:
        """What is said replaces what was, one feature's setting at a time."""
        cancel: Obj = given.get("subscription_cancel", {})
        reasons: Obj = cancel.get("cancellation_reason", {})
        update: Obj = given.get("subscription_update", {})
        old_update: Obj = old.get("subscription_update", {})
        old_cancel: Obj = old.get("subscription_cancel", {})
        _check_cancellation(old_cancel | cancel)
        return {
            "customer_update": {"allowed_updates": [], "enabled": False}
            | old.get("customer_update", {})
            | _without_none(given.get("customer_update", {})),
            "invoice_history": {"enabled": False}
            | old.get("invoice_history", {})
            | given.get("invoice_history", {}),
            "payment_method_update": {"enabled": False, "payment_method_configuration": None}
            | old.get("payment_method_update", {})
            | given.get("payment_method_update", {}),
            "subscription_cancel": {
                "enabled": False,
                "mode": "at_period_end",
                "proration_behavior": "none",
            }
            | old_cancel
            | {name: cancel[name] for name in ("enabled", "mode", "proration_behavior") if name in cancel}
            | {
                "cancellation_reason": {"enabled": False, "feedback_options": None, "options": [*_REASONS]}
                | old_cancel.get("cancellation_reason", {})
                | _without_none(reasons)
            },
            "subscription_pause": {
                "duration": {
                    "interval_options": [{"interval": "month", "interval_count": 1}],
                    "type": "interval_options",
                },
                "enabled": False,
            },
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": [],
                "enabled": False,
                "proration_behavior": "none",
                "schedule_at_period_end": {"conditions": []},
                "trial_update_behavior": "end_trial",
                "_products": [],
            }
            | old_update
            | {name: update[name] for name in update if name != "products" and update[name] is not None}
            | ({"_products": self._products(update["products"])} if "products" in update else {}),
        }

    def _products(self, given: list[Obj] | None) -> list[Obj]:
        products: list[Obj] = []
        for index, wish in enumerate(given or []):
            path = f"features[subscription_update][products][{index}]"
            product = self._books.store.get("product", wish["product"], param=f"{path}[product]")
            for number, id_ in enumerate(wish["prices"]):
                price = self._prices.chosen({"price": id_}, path=f"{path}[prices][{number}]")
                if price["product"] != product["id"]:
                    raise invalid(
                        f"The price {id_} does not belong to the product {product['id']}.",
                        param=f"{path}[prices][{number}]",
                    )
            quantity: Obj = wish.get("adjustable_quantity", {})
            products.append(
                {
                    "adjustable_quantity": {"enabled": False, "maximum": None, "minimum": 1} | quantity,
                    "prices": list(wish["prices"]),
                    "product": product["id"],
                }
            )
        return products

    def _flow(self, data: Obj | None, customer: Obj, configuration: Obj) -> Obj | None:
        if data is None:
            return None
        kind: str = data["type"]
        feature = configuration["features"][_FEATURE_OF_FLOW[kind]]
        if not feature["enabled"]:
            raise invalid(
                f"This flow is not possible because the feature {_FEATURE_OF_FLOW[kind]} of the portal "
                "configuration is disabled.",
                param="flow_data[type]",
            )
        details: Any = data.get(kind)
        if kind != "payment_method_update":
            self._check_subscription(kind, details, customer, configuration)
        completion: Obj = data.get("after_completion", {"type": "portal_homepage"})
        if completion["type"] == "redirect" and "redirect" not in completion:
            raise invalid(
                "Missing required param: flow_data[after_completion][redirect].",
                param="flow_data[after_completion][redirect]",
                code="parameter_missing",
            )
        return {
            "after_completion": {"hosted_confirmation": None, "redirect": None} | completion,
            "customer_update": None,
            "subscription_cancel": {"retention": None} | details if kind == "subscription_cancel" else None,
            "subscription_pause": None,
            "subscription_update": details if kind == "subscription_update" else None,
            "subscription_update_confirm": {"discounts": None} | details
            if kind == "subscription_update_confirm"
            else None,
            "type": kind,
        }

    def _check_subscription(self, kind: str, details: Obj | None, customer: Obj, configuration: Obj) -> None:
        path = f"flow_data[{kind}]"
        if details is None:
            raise invalid(f"Missing required param: {path}.", param=path, code="parameter_missing")
        subscription = self._books.store.get(
            "subscription", details["subscription"], param=f"{path}[subscription]"
        )
        if subscription["customer"] != customer["id"]:
            raise invalid("The subscription does not belong to this customer.", param=f"{path}[subscription]")
        if subscription["status"] in ENDED | {"incomplete"}:
            raise invalid(
                f"A subscription that is {subscription['status']} cannot be changed in the portal.",
                param=f"{path}[subscription]",
            )
        if kind == "subscription_cancel" and subscription["cancel_at"] is not None:
            raise invalid("This subscription is already set to be canceled.", param=f"{path}[subscription]")
        if kind == "subscription_update_confirm":
            self._check_confirmation(details, subscription, configuration, path)

    def _check_confirmation(self, details: Obj, subscription: Obj, configuration: Obj, path: str) -> None:
        items: list[Obj] = details["items"]
        known = items_of(subscription)
        if len(items) != 1 or len(known) != 1:
            raise invalid("Exactly one item can be updated in this flow.", param=f"{path}[items]")
        if items[0]["id"] != known[0]["id"]:
            raise invalid(
                f"No such subscription_item: '{items[0]['id']}'",
                param=f"{path}[items][0][id]",
                code="resource_missing",
            )
        price = items[0].get("price", known[0]["price"]["id"])
        if price == known[0]["price"]["id"] and items[0].get("quantity") in {None, known[0]["quantity"]}:
            raise invalid(
                "The item already has this price and quantity: there is nothing to confirm.",
                param=f"{path}[items]",
            )
        if price not in self.allowed_prices(configuration):
            raise invalid(
                f"The price {price} is not among the products that the portal configuration lets a "
                "subscription change to.",
                param=f"{path}[items][0][price]",
            )


def _check_cancellation(cancel: Obj) -> None:
    """Whoever cancels for the end of the period gets nothing back, and nobody is paid at once."""
    path = "features[subscription_cancel][proration_behavior]"
    behavior = cancel.get("proration_behavior", "none")
    if behavior == "always_invoice":
        raise invalid(f"Invalid {path}: must be one of create_prorations or none", param=path)
    if behavior == "create_prorations" and cancel.get("mode", "at_period_end") != "immediately":
        raise invalid("Prorations are only created when `mode` is `immediately`.", param=path)


def _without_none(given: Obj) -> Obj:
    """An emptied list is an empty list."""
    return {name: [] if value is None else value for name, value in given.items()}
