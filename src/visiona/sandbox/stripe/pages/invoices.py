"""The invoice behind its link: anybody who has the link sees it, pays it, and takes it along as a PDF."""

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from visiona.sandbox.stripe.engine.outcomes import ChallengeRequired, Declined, Paid
from visiona.sandbox.stripe.engine.views import HostedInvoiceView
from visiona.sandbox.stripe.pages.cards import CardForm, Mistakes, read_card
from visiona.sandbox.stripe.pages.pdf import invoice_pdf
from visiona.sandbox.stripe.pages.rendering import Page, see_other, show
from visiona.sandbox.stripe.pages.wiring import AnyRequest, CardBody, ChallengeBody, try_again, typed_so_far
from visiona.sandbox.stripe.service import TheSandbox


@get("/i/{invoice_id:str}", sync_to_thread=False)
def show_invoice(sandbox: TheSandbox, request: AnyRequest, invoice_id: FromPath[str]) -> Page:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    attempt = typed_so_far(request)
    return show(
        "invoice.html.j2",
        merchant=view.merchant,
        view=view,
        here=_address(view),
        form=attempt.form,
        mistakes=attempt.mistakes,
    )


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
def pay_with_saved_card(sandbox: TheSandbox, request: AnyRequest, invoice_id: FromPath[str]) -> Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if view.status == "paid":  # the form was sent twice
        return see_other(_address(view))
    with sandbox.store.atomic():
        outcome = sandbox.engine.hosted_invoices.pay(invoice_id)
    return _follow(request, view, outcome)


@post("/i/{invoice_id:str}", status_code=303, sync_to_thread=False)
def pay_with_new_card(
    sandbox: TheSandbox, request: AnyRequest, invoice_id: FromPath[str], data: CardBody
) -> Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if view.status == "paid":
        return see_other(_address(view))
    card = read_card(data)
    if isinstance(card, Mistakes):
        return try_again(request, _address(view), card, data)
    with sandbox.store.atomic():
        outcome = sandbox.engine.hosted_invoices.pay(invoice_id, card)
    return _follow(request, view, outcome, data)


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
) -> Redirect:
    view = sandbox.engine.hosted_invoices.view(invoice_id)
    if not view.challenge:
        return see_other(_address(view))
    with sandbox.store.atomic():
        outcome = sandbox.engine.hosted_invoices.answer_challenge(
            invoice_id, approve=data.answer == "complete"
        )
    return _follow(request, view, outcome)


def _follow(
    request: AnyRequest,
    view: HostedInvoiceView,
    outcome: Paid | Declined | ChallengeRequired,
    typed: CardForm | None = None,
) -> Redirect:
    match outcome:
        case Paid():
            return see_other(_address(view))
        case ChallengeRequired():
            return see_other(f"{_address(view)}/challenge")
        case Declined():
            return try_again(request, _address(view), outcome, typed)


def _address(view: HostedInvoiceView) -> str:
    return f"/i/{view.id}"
