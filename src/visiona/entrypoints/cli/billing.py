"""Somebody's plan, payments and quota in lines of text, for support."""

from collections.abc import Iterator

from visiona.core.money import format_money
from visiona.entrypoints.cli.administration import BillingRecord

_ENTRIES = {
    "opening": "on record before there was a ledger",
    "calendar": "a calendar month begins",
    "plan": "the plan, or what it allows, was changed",
    "grant": "granted by a subscription",
    "take_back": "taken back from a subscription",
    "end": "the subscription entitles to no more",
    "reserve": "set aside",
    "settle": "delivered, and the rest given back",
}


def describe(record: BillingRecord) -> Iterator[str]:
    yield from _standing(record)
    yield ""
    yield "Invoices"
    for invoice in record.invoices:
        refunded = (
            f", {format_money(invoice.refunded, invoice.currency)} refunded" if invoice.refunded else ""
        )
        disputed = (
            f", {format_money(invoice.disputed, invoice.currency)} disputed" if invoice.disputed else ""
        )
        amount = format_money(invoice.total, invoice.currency)
        yield f"  {invoice.created_at:%Y-%m-%d}  {invoice.id}  {amount}  {invoice.status}{refunded}{disputed}"
    if not record.invoices:
        yield "  none"
    yield ""
    yield "Quota, newest change first"
    for entry in record.ledger:
        what = _ENTRIES[entry.entry]
        about = f" ({entry.reference})" if entry.reference else ""
        when = f"{entry.created_at:%Y-%m-%d %H:%M}"
        period = f"{entry.period_start:%Y-%m-%d}"
        yield f"  {when}  {entry.resource} from {period}: {entry.amount:+d}  {what}{about}"


def _standing(record: BillingRecord) -> Iterator[str]:
    quota, subscription = record.quota, record.overview.subscription
    yield f"Plan      {quota.plan.title} until {quota.period.end:%Y-%m-%d}"
    yield f"Images    {quota.images.used} of {quota.images.limit} used"
    yield f"Clones    {quota.clones.used} of {quota.clones.limit} used"
    if subscription is None:
        yield "No subscription"
        return
    price = format_money(subscription.amount, subscription.currency)
    yield f"Stripe    {subscription.id}: {subscription.status}, {price} a {subscription.interval or 'period'}"
    yield f"Period    {subscription.period_start:%Y-%m-%d} to {subscription.period_end:%Y-%m-%d}"
    if subscription.cancel_at is not None:
        yield f"Ends      {subscription.cancel_at:%Y-%m-%d}"
    if subscription.next_plan is not None:
        yield f"Changes   to {subscription.next_plan} at the end of the period"
