"""A customer's credit balance: negative is money that the merchant owes, used up by later invoices."""

from visiona.sandbox.stripe.engine.books import Books
from visiona.sandbox.stripe.ids import new_id
from visiona.sandbox.stripe.store import Obj


def change_balance(books: Books, customer: Obj, amount: int, kind: str, invoice: str | None = None) -> Obj:
    """Add `amount` to the balance and keep a transaction of that `kind`."""
    with books.changing(customer, "customer.updated"):
        customer["balance"] += amount
    return books.add(
        {
            "id": new_id("cbtxn"),
            "object": "customer_balance_transaction",
            "amount": amount,
            "checkout_session": None,
            "created": books.now_for(customer),
            "credit_note": None,
            "currency": customer["currency"],
            "customer": customer["id"],
            "customer_account": None,
            "description": None,
            "ending_balance": customer["balance"],
            "invoice": invoice,
            "livemode": False,
            "metadata": {},
            "type": kind,
        }
    )
