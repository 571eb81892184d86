"""The page behind `hosted_invoice_url`: anybody with the link may see the invoice and pay it."""

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.engine.collection import Collection
from visiona.sandbox.stripe.engine.invoices import Invoices
from visiona.sandbox.stripe.engine.outcomes import Card, ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.payment_methods import PaymentMethods
from visiona.sandbox.stripe.engine.payments import Attempt
from visiona.sandbox.stripe.engine.views import CardView, HostedInvoiceView, PreviewLine
from visiona.sandbox.stripe.errors import invalid, missing
from visiona.sandbox.stripe.store import Obj


class HostedInvoices:
    def __init__(
        self, books: Books, methods: PaymentMethods, invoices: Invoices, collection: Collection
    ) -> None:
        self._books = books
        self._methods = methods
        self._invoices = invoices
        self._collection = collection

    def view(self, invoice_id: str) -> HostedInvoiceView:
        """Raises a `StripeError` with status 404 for an unknown invoice or a draft."""
        invoice = self._find(invoice_id)
        intent = self._invoices.intent_of(invoice)
        asks = intent is not None and intent["status"] == "requires_action"
        method = self._own_method(invoice)
        return HostedInvoiceView(
            id=invoice_id,
            merchant=self._books.settings.merchant,
            number=invoice["number"],
            status=invoice["status"],
            currency=invoice["currency"],
            total=invoice["total"],
            amount_due=invoice["amount_due"],
            amount_paid=invoice["amount_paid"],
            amount_remaining=invoice["amount_remaining"],
            created=invoice["created"],
            paid_at=invoice["status_transitions"]["paid_at"],
            customer_name=invoice["customer_name"],
            customer_email=invoice["customer_email"],
            lines=tuple(
                PreviewLine(line["description"] or "", line["amount"]) for line in invoice["_all_lines"]
            ),
            card=card_view(method) if method is not None else None,
            payable=is_payable(invoice),
            challenge=asks and is_payable(invoice),
        )

    def pay(self, invoice_id: str, card: Card | None = None) -> Paid | Declined | ChallengeRequired:
        """With a new card, or with the customer's own; an invoice that is not open is a `StripeError`."""
        invoice = self._find(invoice_id)
        self._collection.require_payable(invoice)
        if card is None:
            return self.pay_with(invoice, None)
        mistake = self._methods.mistake_in(card)
        if mistake is not None:
            return mistake.for_page()
        method = self._methods.create(card, {"email": invoice["customer_email"]})
        return self.pay_with(invoice, method)

    def pay_with(self, invoice: Obj, method: Obj | None) -> Paid | Declined | ChallengeRequired:
        """A person's attempt with a payment method, or with the one that automatic attempts use."""
        outcome = self._outcome(self._collection.attempt(invoice, method, by="person"))
        if isinstance(outcome, Paid) and method is not None and method["customer"] is None:
            self._methods.attach(method, self._books.customer(invoice["customer"]))
        return outcome

    def answer_challenge(self, invoice_id: str, *, approve: bool) -> Paid | Declined:
        invoice = self._find(invoice_id)
        self._collection.require_payable(invoice)
        outcome = self._outcome(self._collection.answer_challenge(invoice, approve=approve))
        if isinstance(outcome, ChallengeRequired):
            raise TypeError("an answered challenge is not asked again")
        return outcome

    def _outcome(self, attempt: Attempt) -> Paid | Declined | ChallengeRequired:
        if attempt.status == "requires_action":
            return ChallengeRequired()
        return Paid() if attempt.decline is None else attempt.decline.for_page()

    def _find(self, invoice_id: str) -> Obj:
        invoice = self._books.store.get("invoice", invoice_id)
        if invoice["status"] == "draft":
            raise missing("invoice", invoice_id)
        return invoice

    def _own_method(self, invoice: Obj) -> Obj | None:
        customer = self._books.store.find("customer", invoice["customer"])
        if customer is None or customer.get("deleted"):
            return None
        return self._collection.method_for(invoice)


def is_payable(invoice: Obj) -> bool:
    return invoice["status"] in {"open", "uncollectible"} and invoice["amount_remaining"] > 0


def card_view(method: Obj) -> CardView:
    card = method["card"]
    return CardView(card["brand"], card["last4"], card["exp_month"], card["exp_year"])


def require_invoice_of(invoice: Obj, customer_id: str) -> None:
    """Raises a `StripeError` 400 for somebody else's invoice."""
    if invoice["customer"] != customer_id:
        raise invalid("This invoice belongs to another customer.", param="invoice")
