"""The invoice behind its link: anybody who has the link sees it, pays it, and takes it along as a PDF."""

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from visiona.sandbox.stripe.engine.outcomes import ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.views import HostedInvoiceView
from visiona.sandbox.stripe.pages.cards import CardForm, Mistakes, mistakes_of, read_card, sample_form
from visiona.sandbox.stripe.pages.checkout import ChallengeBody
from visiona.sandbox.stripe.pages.pdf import invoice_pdf
from visiona.sandbox.stripe.pages.rendering import Page, see_other, show
from visiona.sandbox.stripe.pages.wiring import AnyRequest, CardBody, country_for
from visiona.sandbox.stripe.service import TheSandbox


@get("/i/{invoice_id:str}", sync_to_thread=False)
def show_invoice(
    sandbox: TheSandbox, request: AnyRequest, invoice_id: FromPath[str], card: FromQuery[str] = ""
) -> Page:
    """`card` names a test card to type in."""
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    return _page(view, sample_form(card, country_for(request)), None)


@get("/i/{invoice_id:str}/pdf", sync_to_thread=False)
def download_invoice(sandbox: TheSandbox, invoice_id: FromPath[str]) -> Response[bytes]:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'inline; filename="invoice-{view.number or view.id}.pdf"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(invoice_pdf(view), media_type="application/pdf", headers=headers)


@post("/i/{invoice_id:str}/pay", status_code=303, sync_to_thread=False)
def pay_with_saved_card(
    sandbox: TheSandbox, request: AnyRequest, invoice_id: FromPath[str]
) -> Page | Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if view.status == "paid":  # the form was sent twice
        return see_other(_address(view))
    with sandbox.store.atomic():
        outcome = sandbox.engine.hosted_invoices.pay(invoice_id)
    return _answer(view, outcome, CardForm(country=country_for(request)))


@post("/i/{invoice_id:str}", status_code=303, sync_to_thread=False)
def pay_with_new_card(sandbox: TheSandbox, invoice_id: FromPath[str], data: CardBody) -> Page | Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if view.status == "paid":
        return see_other(_address(view))
    card = read_card(data)
    if isinstance(card, Mistakes):
        return _page(view, data, card, 422)
    with sandbox.store.atomic():
        outcome = sandbox.engine.hosted_invoices.pay(invoice_id, card)
    return _answer(view, outcome, data)


@get("/i/{invoice_id:str}/challenge", sync_to_thread=False)
def show_invoice_challenge(sandbox: TheSandbox, invoice_id: FromPath[str]) -> Page | Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if not view.challenge:
        return see_other(_address(view))
    return show(
        "challenge.html.j2", merchant=view.merchant, amount=view.amount_remaining, currency=view.currency
    )


@post("/i/{invoice_id:str}/challenge", status_code=303, sync_to_thread=False)
def answer_invoice_challenge(
    sandbox: TheSandbox, request: AnyRequest, invoice_id: FromPath[str], data: ChallengeBody
) -> Page | Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if not view.challenge:
        return see_other(_address(view))
    with sandbox.store.atomic():
        outcome = sandbox.engine.hosted_invoices.answer_challenge(
            invoice_id, approve=data.answer == "complete"
        )
    return _answer(view, outcome, CardForm(country=country_for(request)))


def _answer(
    view: HostedInvoiceView, outcome: Paid | Declined | ChallengeRequired, typed: CardForm
) -> Page | Redirect:
    match outcome:
        case Paid():
            return see_other(_address(view))
        case ChallengeRequired():
            return see_other(f"{_address(view)}/challenge")
        case Declined():
            typed.cvc = ""
            return _page(view, typed, mistakes_of(outcome), 402)


def _page(view: HostedInvoiceView, form: CardForm, mistakes: Mistakes | None, status: int = 200) -> Page:
    return show(
        "invoice.html.j2",
        status=status,
        merchant=view.merchant,
        view=view,
        here=_address(view),
        form=form,
        mistakes=mistakes,
    )


def _address(view: HostedInvoiceView) -> str:
    return f"/i/{view.id}"
