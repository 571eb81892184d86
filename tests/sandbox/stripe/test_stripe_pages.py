"""The hosted pages as a browser without scripts sees them: forms that are sent, and where they lead."""

import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.sandbox.stripe.merchant import DAY, Document, Merchant, running_merchant

from visiona.sandbox.stripe.pages.wording import format_amount

BANNER = "Sandbox - no money moves"


@pytest.fixture(scope="module")
def merchant(tmp_path_factory: pytest.TempPathFactory) -> Generator[Merchant]:
    with running_merchant(tmp_path_factory.mktemp("stripe")) as running:
        yield running


@pytest.fixture
def own_merchant(tmp_path_factory: pytest.TempPathFactory) -> Generator[Merchant]:
    """For tests that move time."""
    with running_merchant(tmp_path_factory.mktemp("stripe")) as running:
        yield running


def subscriptions_for(merchant: Merchant, path: str) -> int:
    session = merchant.session(path)
    customer = str(session.customer)
    return len(merchant.api.v1.subscriptions.list({"customer": customer, "status": "all"}).data)


# Checkout


def test_checkout_says_what_is_bought(merchant: Merchant) -> None:
    page = merchant.see(merchant.checkout(customer_email="ada@example.com"))
    assert page.text("checkout-product") == "Sandbox Pro"
    assert page.text("checkout-amount") == "$29.00"
    assert page.text("checkout-interval") == "$29.00 per month"
    assert page.text("checkout-email") == "ada@example.com"
    assert page.text("checkout-pay") == "Subscribe for $29.00"
    assert page.href("checkout-cancel") == f"{merchant.site}/pricing"
    assert page.text("sandbox-note") == BANNER
    assert "checkout-trial" not in page
    assert "checkout-error" not in page


@pytest.mark.parametrize(
    ("plan", "amount", "interval"),
    [
        ("yen", "¥1,200", "¥1,200 every 3 months"),
        ("pro_yearly", "$290.00", "$290.00 per year"),
    ],
)
def test_checkout_writes_each_currency_its_own_way(
    merchant: Merchant, plan: str, amount: str, interval: str
) -> None:
    page = merchant.see(merchant.checkout(plan))
    assert page.text("checkout-amount") == amount
    assert page.text("checkout-interval") == interval


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, "usd", "$1,234.50"),
        (1200, "jpy", "¥1,200"),
        (3500, "kwd", "KWD 3.500"),
        (-1450, "eur", "-€14.50"),
        (0, "krw", "KRW 0"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(amount: int, currency: str, text: str) -> None:
    assert format_amount(amount, currency) == text


def test_a_trial_costs_nothing_today(merchant: Merchant) -> None:
    path = merchant.checkout(subscription_data={"trial_period_days": 7}, customer_email="ada@example.com")
    page = merchant.see(path)
    assert page.text("checkout-amount") == "$0.00"
    assert page.text("checkout-trial") == "7 days free"
    assert page.text("checkout-interval") == "$29.00 per month"
    assert page.text("checkout-pay") == "Start trial"
    assert merchant.pay(path).status_code == 303
    assert merchant.session(path).payment_status == "no_payment_required"


def test_paying_leads_back_to_the_merchant(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    session_id = path.rpartition("/")[2]
    answer = merchant.pay(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{merchant.site}/welcome?session={session_id}"
    session = merchant.session(path)
    assert (session.status, session.payment_status) == ("complete", "paid")


def test_a_form_that_is_sent_again_buys_nothing_more(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    first = merchant.pay(path)
    second = merchant.pay(path)
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.headers["location"] == second.headers["location"]
    assert subscriptions_for(merchant, path) == 1
    page = merchant.see(path)
    assert "already completed" in page.text("checkout-complete")
    assert page.href("checkout-continue") == first.headers["location"]
    assert "checkout-pay" not in page


def test_two_clicks_at_once_buy_once(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: merchant.pay(path), range(6)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert subscriptions_for(merchant, path) == 1


def test_an_email_is_asked_for_where_none_is_known(merchant: Merchant) -> None:
    path = merchant.checkout()
    page = merchant.refused(merchant.pay(path, email="nobody"))
    assert page.text("checkout-email-error") == "Enter your e-mail address."
    assert page.value("checkout-email") == "nobody"
    assert merchant.pay(path, email="grace@example.com").status_code == 303
    details = merchant.session(path).customer_details
    assert details is not None
    assert details.email == "grace@example.com"


def test_mistakes_stand_beside_their_fields(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    answer = merchant.pay(path, "4242 abcd", expiry="13/30", cvc="1", name=" ", country="XX")
    page = merchant.refused(answer)
    assert page.text("checkout-error") == "Check the fields that are marked below."
    assert page.text("checkout-number-error") == "A card number has digits only."
    assert page.text("checkout-expiry-error") == "Enter month and year, like 12 / 34."
    assert page.text("checkout-cvc-error") == "This has three or four digits."
    assert page.text("checkout-name-error") == "Enter the name on the card."
    assert page.text("checkout-country-error") == "Choose a country from the list."
    number = page.attributes["checkout-card-number"]
    assert number["value"] == "4242 abcd"
    assert number["aria-invalid"] == "true"
    assert number["aria-describedby"] == page.attributes["checkout-number-error"]["id"]
    assert "autofocus" in number
    assert merchant.session(path).status == "open"


def test_an_empty_form_names_every_field(merchant: Merchant) -> None:
    page = merchant.refused(merchant.send(merchant.checkout()))
    for field in ("email", "number", "expiry", "cvc", "name", "country"):
        assert page.text(f"checkout-{field}-error"), field


@pytest.mark.parametrize("expiry", ["12/34", "12 34", "1234", "12/2034", "12 / 34", "122034", "12-34"])
def test_an_expiry_may_be_written_in_many_ways(merchant: Merchant, expiry: str) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    assert merchant.pay(path, expiry=expiry).status_code == 303


@pytest.mark.parametrize(
    ("number", "message", "field"),
    [
        ("4000 0000 0000 0002", "Your card was declined.", None),
        ("4000 0000 0000 9995", "Your card has insufficient funds.", None),
        ("4000 0000 0000 0069", "Your card has expired.", "expiry"),
        ("4000 0000 0000 0127", "Your card's security code is incorrect.", "cvc"),
        ("4242 4242 4242 4241", "Your card number is incorrect.", "number"),
    ],
)
def test_a_refused_card_can_be_replaced(
    merchant: Merchant, number: str, message: str, field: str | None
) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    page = merchant.refused(merchant.pay(path, number))
    assert page.text("checkout-error") == message
    assert page.value("checkout-card-number") == number
    assert page.value("checkout-cvc") == ""
    marked = {name for name in page.texts if name.endswith("-error")} - {"checkout-error"}
    assert marked == ({f"checkout-{field}-error"} if field else set())
    assert merchant.session(path).status == "open"
    assert merchant.pay(path).status_code == 303
    assert merchant.session(path).status == "complete"


def test_a_card_of_the_past_is_refused_beside_its_date(merchant: Merchant) -> None:
    answer = merchant.pay(merchant.checkout(customer_email="ada@example.com"), expiry="01/20")
    assert merchant.refused(answer).text("checkout-expiry-error") == "Your card's expiration year is invalid."


@pytest.mark.parametrize("number", ["4000 0025 0000 3155", "4000 0027 6000 3184"])
def test_the_bank_asks_and_hears_yes(merchant: Merchant, number: str) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    answer = merchant.pay(path, number)
    assert answer.headers["location"] == f"{path}/challenge"
    page = merchant.see(f"{path}/challenge")
    assert "$29.00" in page.text("challenge")
    assert merchant.session(path).status == "open"
    for _ in range(2):  # the second is a second click
        answer = merchant.send(f"{path}/challenge", answer="complete")
        assert answer.status_code == 303
        assert answer.headers["location"].startswith(f"{merchant.site}/welcome?session=cs_")
    assert merchant.session(path).payment_status == "paid"
    assert subscriptions_for(merchant, path) == 1
    assert merchant.http.get(f"{path}/challenge").headers["location"] == path


def test_the_bank_asks_and_hears_no(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    merchant.pay(path, "4000 0025 0000 3155")
    page = merchant.refused(merchant.send(f"{path}/challenge", answer="fail"))
    assert "unable to authenticate" in page.text("checkout-error")
    assert merchant.session(path).status == "open"
    assert merchant.send(f"{path}/challenge", answer="complete").headers["location"] == path
    assert merchant.session(path).status == "open"
    assert merchant.pay(path).status_code == 303


def test_the_bank_asks_then_refuses(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    merchant.pay(path, "4000 0084 0000 1629")
    page = merchant.refused(merchant.send(f"{path}/challenge", answer="complete"))
    assert page.text("checkout-error") == "Your card was declined."


def test_a_refused_form_is_not_sent_again_by_reloading(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    location = merchant.pay(path, "4000 0000 0000 0002").headers["location"]
    assert "4000" not in location
    for _ in range(2):
        assert merchant.see(location).text("checkout-error") == "Your card was declined."
    assert "checkout-error" not in merchant.see(path)
    assert "checkout-error" not in merchant.see(f"{path}?attempt=forgotten")


def test_an_expired_checkout_takes_no_card(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    merchant.api.v1.checkout.sessions.expire(path.rpartition("/")[2])
    page = merchant.see(path, 410)
    assert "expired" in page.text("checkout-expired")
    assert page.href("checkout-cancel") == f"{merchant.site}/pricing"
    assert merchant.pay(path).headers["location"] == path
    assert merchant.session(path).subscription is None


@pytest.mark.parametrize(
    ("sample", "number"),
    [
        ("success", "4242 4242 4242 4242"),
        ("declined", "4000 0000 0000 0002"),
        ("insufficient-funds", "4000 0000 0000 9995"),
        ("challenge", "4000 0025 0000 3155"),
        ("fails-later", "4000 0000 0000 0341"),
        ("disputed", "4000 0000 0000 0259"),
    ],
)
def test_a_test_card_is_one_click_away(merchant: Merchant, sample: str, number: str) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    link = merchant.see(path).href(f"checkout-test-{sample}")
    page = merchant.see(link)
    assert page.value("checkout-card-number") == number
    assert page.value("checkout-expiry") == "12 / 34"
    assert page.value("checkout-cvc") == "123"
    assert page.value("checkout-name")
    assert page.attributes[f"checkout-test-{sample}"]["aria-current"] == "true"


def test_the_country_is_guessed_from_the_browser(merchant: Merchant) -> None:
    path = merchant.checkout()
    for languages, code in (("de-AT,de;q=0.9,en-US;q=0.8", "AT"), ("fr", "US"), ("", "US")):
        html = merchant.http.get(path, headers={"accept-language": languages}).text
        assert Document(html).has_tag("option", value=code, selected=""), languages


# Portal


def test_the_portal_shows_what_one_has(merchant: Merchant) -> None:
    path = merchant.portal(merchant.subscriber())
    page = merchant.see(path)
    assert page.text("portal-plan") == "Sandbox Pro"
    assert page.attributes["portal-status"]["data-status"] == "active"
    assert page.text("portal-period").startswith("Renews on ")
    assert "Visa •••• 4242" in page.text("portal-card")
    assert page.text("portal-customer") == "ada@example.com"
    assert page.href("portal-return") == f"{merchant.site}/account"
    assert page.attributes["portal-invoice"]["data-status"] == "paid"
    assert "$29.00" in page.text("portal-invoices")
    assert "portal-invoice-pay" not in page
    assert "portal-change-basic" in page
    assert "portal-change-pro_yearly" in page
    assert "portal-change-pro" not in page
    assert page.text("sandbox-note") == BANNER


def test_a_dearer_plan_is_paid_at_once(merchant: Merchant) -> None:
    customer = merchant.subscriber("basic")
    path = merchant.portal(customer)
    confirm = merchant.see(path).href("portal-change-pro")
    page = merchant.see(confirm)
    assert page.text("portal-new-plan") == "Sandbox Pro, $29.00 per month"
    assert page.text("portal-applies") == "at once"
    assert page.text("portal-due-now") == "$20.00"
    assert page.text("portal-confirm") == "Change and pay $20.00"
    assert page.href("portal-back") == path
    for _ in range(2):  # the second is a second click
        answer = merchant.send(confirm)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=changed")
    subscription = merchant.subscription(customer)
    assert subscription["items"].data[0].price.id == merchant.prices["pro"]
    paid = [invoice.amount_paid for invoice in merchant.api.v1.invoices.list({"customer": customer}).data]
    assert paid == [2000, 900]
    assert merchant.see(f"{path}?done=changed").text("portal-message") == "Your plan has been changed."


def test_a_cheaper_plan_waits_for_the_end_of_the_period(merchant: Merchant) -> None:
    customer = merchant.subscriber("pro")
    path = merchant.portal(customer)
    confirm = merchant.see(path).href("portal-change-basic")
    page = merchant.see(confirm)
    assert page.text("portal-due-now") == "$0.00"
    assert page.text("portal-next") == "$9.00"
    assert page.text("portal-applies") in page.text("portal-confirm")
    for _ in range(2):
        answer = merchant.send(confirm)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=scheduled")
    page = merchant.see(path)
    assert page.text("portal-plan") == "Sandbox Pro"
    assert "Changes to Sandbox Basic, $9.00 per month" in page.text("portal-scheduled")
    assert "portal-change-basic" not in page
    for _ in range(2):
        assert merchant.send(f"{path}/undo").headers["location"] == f"{path}?done=undone"
    page = merchant.see(path)
    assert "portal-scheduled" not in page
    assert "portal-change-basic" in page
    assert merchant.subscription(customer).schedule is None


def test_a_refused_card_leaves_the_plan_as_it_was(merchant: Merchant) -> None:
    customer = merchant.subscriber("basic")
    merchant.use_card(customer, "pm_card_chargeCustomerFail")
    path = merchant.portal(customer)
    page = merchant.refused(merchant.send(f"{path}/change/{merchant.prices['pro']}"))
    assert page.text("portal-error") == "Your card was declined."
    assert "portal-confirm" in page
    assert merchant.subscription(customer)["items"].data[0].price.id == merchant.prices["basic"]


def test_a_change_may_need_the_bank(merchant: Merchant) -> None:
    customer = merchant.subscriber("basic")
    merchant.use_card(customer, "pm_card_authenticationRequired")
    path = merchant.portal(customer)
    change = f"{path}/change/{merchant.prices['pro']}"
    assert merchant.send(change).headers["location"] == f"{path}/challenge"
    assert "challenge-complete" in merchant.see(f"{path}/challenge")
    page = merchant.refused(merchant.send(f"{path}/challenge", answer="fail"))
    assert "unable to authenticate" in page.text("portal-error")
    assert merchant.subscription(customer)["items"].data[0].price.id == merchant.prices["basic"]
    assert merchant.send(change).headers["location"] == f"{path}/challenge"
    answer = merchant.send(f"{path}/challenge", answer="complete")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=confirmed")
    assert merchant.subscription(customer)["items"].data[0].price.id == merchant.prices["pro"]


def test_a_price_that_is_not_offered_cannot_be_had(merchant: Merchant) -> None:
    path = merchant.portal(merchant.subscriber())
    for price in (merchant.prices["other"], "price_unknown"):
        for answer in (merchant.http.get(f"{path}/change/{price}"), merchant.send(f"{path}/change/{price}")):
            assert 400 <= answer.status_code < 500
            assert answer.headers["content-type"].startswith("text/html")


def test_cancelling_is_confirmed_and_can_be_taken_back(merchant: Merchant) -> None:
    customer = merchant.subscriber()
    path = merchant.portal(customer)
    confirm = merchant.see(path).href("portal-cancel")
    page = merchant.see(confirm)
    ends = page.text("portal-cancel-date")
    assert page.href("portal-back") == path
    assert merchant.subscription(customer).cancel_at is None
    for _ in range(2):
        assert merchant.send(confirm).headers["location"] == f"{path}?done=canceled"
    subscription = merchant.subscription(customer)
    assert subscription.cancel_at == subscription["items"].data[0].current_period_end
    page = merchant.see(path)
    assert page.text("portal-period") == f"Ends on {ends} and is not charged again."
    assert "portal-cancel" not in page
    assert "portal-change-basic" not in page
    for _ in range(2):
        assert merchant.send(f"{path}/resume").headers["location"] == f"{path}?done=resumed"
    assert merchant.subscription(customer).cancel_at is None
    assert merchant.see(path).text("portal-period").startswith("Renews on ")


def test_a_new_card_takes_the_old_ones_place(merchant: Merchant) -> None:
    customer = merchant.subscriber()
    path = merchant.portal(customer)
    form = merchant.see(path).href("portal-card")
    assert "portal-card-save" in merchant.see(form)
    page = merchant.refused(merchant.pay(form, "4242", cvc=""))
    assert page.text("portal-number-error") == "This card number is not complete."
    page = merchant.refused(merchant.pay(form, "4000 0000 0000 0002"))
    assert page.text("portal-error") == "Your card was declined."
    assert "4242" in merchant.see(path).text("portal-card")
    saved = merchant.pay(form, "5555 5555 5555 4444")
    assert saved.headers["location"] == f"{path}?done=card"
    assert "Mastercard •••• 4444" in merchant.see(path).text("portal-card")


def test_an_overdue_invoice_is_paid_from_the_portal(own_merchant: Merchant) -> None:
    merchant = own_merchant
    customer = merchant.subscriber()
    merchant.use_card(customer, "pm_card_chargeCustomerFail")
    merchant.server.advance(32 * DAY)
    path = merchant.portal(customer)
    page = merchant.see(path)
    assert page.attributes["portal-status"]["data-status"] == "past_due"
    assert "portal-overdue" in page
    pay = next(
        found["action"] for tag, found in page.tags if tag == "form" and "/invoices/" in found["action"]
    )
    assert merchant.refused(merchant.send(pay)).text("portal-error") == "Your card was declined."
    assert merchant.pay(f"{path}/card").headers["location"] == f"{path}?done=card"
    for _ in range(2):
        assert merchant.send(pay).headers["location"] == f"{path}?done=paid"
    page = merchant.see(path)
    assert page.attributes["portal-status"]["data-status"] == "active"
    assert "portal-invoice-pay" not in page


def test_a_portal_link_does_not_work_for_ever(own_merchant: Merchant) -> None:
    path = own_merchant.portal(own_merchant.subscriber())
    own_merchant.server.advance(2 * DAY)
    answer = own_merchant.http.get(path)
    assert 400 <= answer.status_code < 500
    page = Document(answer.text)
    assert "expired" in page.text("portal-expired")
    assert page.href("portal-return") == f"{own_merchant.site}/account"
    assert 400 <= own_merchant.send(f"{path}/cancel").status_code < 500


def test_a_link_that_never_was_is_a_page_too(merchant: Merchant) -> None:
    for path, testid in (
        ("/p/session/bps_unknown", "portal-expired"),
        ("/c/pay/cs_test_unknown", "page-error"),
        ("/i/in_unknown", "page-error"),
    ):
        page = merchant.see(path, 404)
        assert testid in page
        assert page.text("sandbox-note") == BANNER


def flow(merchant: Merchant, kind: str, customer: str, **about: object) -> dict[str, object]:
    inner = (
        {"subscription": merchant.subscription(customer).id, **about}
        if kind != "payment_method_update"
        else None
    )
    ending = {"type": "redirect", "redirect": {"return_url": f"{merchant.site}/done"}}
    return {"type": kind, "after_completion": ending, **({kind: inner} if inner else {})}


def test_a_deep_link_to_the_plans(merchant: Merchant) -> None:
    customer = merchant.subscriber("basic")
    path = merchant.portal(customer, flow_data=flow(merchant, "subscription_update", customer))
    page = merchant.see(path)
    assert "portal-cancel" not in page
    confirm = page.href("portal-change-pro")
    assert merchant.see(confirm).href("portal-back") == f"{merchant.site}/account"
    answer = merchant.send(confirm)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{merchant.site}/done")
    assert merchant.see(path).href("portal-return") == f"{merchant.site}/done"


def test_a_deep_link_to_one_change(merchant: Merchant) -> None:
    customer = merchant.subscriber("basic")
    item = merchant.subscription(customer)["items"].data[0].id
    items = [{"id": item, "price": merchant.prices["pro"], "quantity": 1}]
    data = flow(merchant, "subscription_update_confirm", customer, items=items)
    path = merchant.portal(customer, flow_data=data)
    page = merchant.see(path)
    assert page.text("portal-due-now") == "$20.00"
    action = next(found["action"] for tag, found in page.tags if tag == "form")
    for _ in range(2):
        assert merchant.send(action).headers["location"] == f"{merchant.site}/done"
    assert merchant.subscription(customer)["items"].data[0].price.id == merchant.prices["pro"]


def test_a_deep_link_to_cancelling(merchant: Merchant) -> None:
    customer = merchant.subscriber()
    path = merchant.portal(customer, flow_data=flow(merchant, "subscription_cancel", customer))
    assert "portal-cancel-confirm" in merchant.see(path)
    for _ in range(2):
        assert merchant.send(f"{path}/cancel").headers["location"] == f"{merchant.site}/done"
    assert merchant.subscription(customer).cancel_at is not None


def test_a_deep_link_to_the_card(merchant: Merchant) -> None:
    customer = merchant.subscriber()
    path = merchant.portal(customer, flow_data=flow(merchant, "payment_method_update", customer))
    assert "portal-card-save" in merchant.see(path)
    assert merchant.pay(f"{path}/card", "5555 5555 5555 4444").headers["location"] == f"{merchant.site}/done"
    again = merchant.portal(customer)
    assert "4444" in merchant.see(again).text("portal-card")


# Invoices


def test_an_invoice_behind_its_link(merchant: Merchant) -> None:
    customer = merchant.subscriber()
    invoice = merchant.api.v1.invoices.list({"customer": customer}).data[0]
    page = merchant.see(merchant.portal(customer))
    assert page.href("portal-invoice-view") == invoice.hosted_invoice_url
    assert page.href("portal-invoice-pdf") == invoice.invoice_pdf
    page = merchant.see(str(invoice.hosted_invoice_url))
    assert page.text("invoice-number") == invoice.number
    assert page.text("invoice-total") == "$29.00"
    assert page.attributes["invoice-status"]["data-status"] == "paid"
    assert "Sandbox Pro" in page.text("invoice-lines")
    assert "invoice-pay" not in page
    assert page.text("sandbox-note") == BANNER


def test_an_open_invoice_is_paid_on_its_page(own_merchant: Merchant) -> None:
    merchant = own_merchant
    customer = merchant.subscriber()
    merchant.use_card(customer, "pm_card_chargeCustomerFail")
    merchant.server.advance(32 * DAY)
    invoice = merchant.api.v1.invoices.list({"customer": customer, "status": "open"}).data[0]
    path = str(invoice.hosted_invoice_url).removeprefix(merchant.server.base)
    assert merchant.see(path).text("invoice-pay") == "Pay $29.00 with Visa •••• 0341"
    page = merchant.refused(merchant.send(f"{path}/pay"))
    assert page.text("invoice-error") == "Your card was declined."
    page = merchant.refused(merchant.pay(path, ""))
    assert page.text("invoice-number-error") == "Enter the card number."
    assert merchant.pay(path, "4000 0027 6000 3184").headers["location"] == f"{path}/challenge"
    assert "$29.00" in merchant.see(f"{path}/challenge").text("challenge")
    for _ in range(2):
        answer = merchant.send(f"{path}/challenge", answer="complete")
        assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert merchant.see(path).attributes["invoice-status"]["data-status"] == "paid"
    assert merchant.send(f"{path}/pay").headers["location"] == path
    assert merchant.pay(path).headers["location"] == path
    assert merchant.api.v1.invoices.retrieve(invoice.id).amount_paid == 2900


def drawn_text(pdf: bytes) -> str:
    """The strings that the pages draw, after a check that every object lies where the table says."""
    assert pdf.startswith(b"%PDF-1.4\n")
    start = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", pdf)[1])  # type: ignore[index] # or the test fails
    assert pdf[start : start + 5] == b"xref\n"
    head, *entries = pdf[start + 5 :].split(b"\n")
    count = int(head.split()[1])
    for number, entry in enumerate(entries[1:count], 1):
        assert len(entry) == 19
        offset = int(entry[:10])
        assert pdf[offset:].startswith(f"{number} 0 obj\n".encode())
    streams = re.findall(rb"<< /Length (\d+) >>\nstream\n(.*?)\nendstream", pdf, re.DOTALL)
    assert streams
    for length, stream in streams:
        assert int(length) == len(stream)
    shown = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", b"\n".join(stream for _, stream in streams))
    plain = [re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), text) for text in shown]
    return b"\n".join(plain).replace(b"\\", b"").decode("cp1252")


def test_an_invoice_can_be_taken_along(merchant: Merchant) -> None:
    customer = merchant.subscriber("yen")
    invoice = merchant.api.v1.invoices.list({"customer": customer}).data[0]
    answer = merchant.http.get(str(invoice.invoice_pdf))
    assert answer.headers["content-type"] == "application/pdf"
    assert f'filename="invoice-{invoice.number}.pdf"' in answer.headers["content-disposition"]
    text = drawn_text(answer.content)
    assert str(invoice.number) in text
    assert "Sandbox Yen" in text
    assert "¥1,200" in text
    assert "ada@example.com" in text
    assert "SANDBOX" in text
    assert BANNER in text


def test_a_long_invoice_in_many_alphabets(merchant: Merchant) -> None:
    customer = merchant.subscriber("pro")
    merchant.api.v1.customers.update(customer, {"name": "Łucja (Zoë) \\ 山田"})
    for number in range(40):
        words = f"Extra {number}: " + "a thing that is told at some length, " * 4
        merchant.api.v1.invoice_items.create(
            {"customer": customer, "amount": 100, "currency": "usd", "description": words.strip(", ")}
        )
    invoice = merchant.api.v1.invoices.create(
        {"customer": customer, "pending_invoice_items_behavior": "include"}
    )
    invoice = merchant.api.v1.invoices.finalize_invoice(str(invoice.id))
    pdf = merchant.http.get(str(invoice.invoice_pdf)).content
    text = drawn_text(pdf)
    pages = int(re.search(rb"/Count (\d+)", pdf)[1])  # type: ignore[index] # or the test fails
    assert pages >= 3
    assert f"Page {pages} of {pages}" in text
    assert all(f"Extra {number}:" in text for number in range(40))
    assert "$40.00" in text
    assert pdf == merchant.http.get(str(invoice.invoice_pdf)).content


# Every page


def all_pages(merchant: Merchant) -> list[str]:
    checkout, done = (merchant.checkout(customer_email="ada@example.com") for _ in range(2))
    merchant.pay(done)
    customer = merchant.subscriber()
    portal = merchant.portal(customer)
    invoice = merchant.api.v1.invoices.list({"customer": customer}).data[0]
    change = f"{portal}/change/{merchant.prices['basic']}"
    challenged = merchant.checkout(customer_email="ada@example.com")
    merchant.pay(challenged, "4000 0025 0000 3155")
    return [
        checkout, done, f"{challenged}/challenge", portal, change, f"{portal}/cancel", f"{portal}/card",
        str(invoice.hosted_invoice_url), "/p/session/bps_unknown",
    ]  # fmt: skip


def test_pages_hold_to_a_strict_policy(merchant: Merchant) -> None:
    for path in all_pages(merchant):
        answer = merchant.http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-visiona-sandbox"] == "stripe"
        page = Document(answer.text)
        assert page.text("sandbox-note") == BANNER
        for tag, found in page.tags:
            assert "style" not in found, path
            assert not any(name.startswith("on") for name in found), path
            assert tag != "style", path
            assert tag != "script" or found["src"].startswith("/hosted/"), path


def test_forms_may_lead_to_the_merchant_and_nowhere_else(merchant: Merchant) -> None:
    paths = (merchant.checkout(), merchant.portal(merchant.subscriber()))
    for path in paths:
        policy = merchant.http.get(path).headers["content-security-policy"]
        assert f"form-action 'self' {merchant.site}" in policy.split("; ")


def test_what_is_typed_is_text(merchant: Merchant) -> None:
    path = merchant.checkout()
    answer = merchant.pay(path, number='"><script>alert(1)</script>', name="<b>bold</b>", email="<i>@x.y")
    page = merchant.refused(answer)
    assert page.value("checkout-name") == "<b>bold</b>"
    assert not page.has_tag("b")
    assert sum(tag == "script" for tag, _ in page.tags) == 1


def test_static_files_are_kept_and_only_those(merchant: Merchant) -> None:
    page = merchant.see(merchant.checkout())
    sheet = next(found["href"] for tag, found in page.tags if found.get("rel") == "stylesheet")
    answer = merchant.http.get(sheet)
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    script = next(found["src"] for tag, found in page.tags if tag == "script")
    assert merchant.http.get(script).headers["content-type"].startswith("text/javascript")
    assert merchant.http.get("/hosted/0000/pages.css").status_code == 404
    assert merchant.http.get(sheet.replace("pages.css", "..%2F__init__.py")).status_code == 404


def test_a_request_that_no_form_sends_is_a_page(merchant: Merchant) -> None:
    path = merchant.checkout(customer_email="ada@example.com")
    merchant.pay(path, "4000 0025 0000 3155")
    answer = merchant.send(f"{path}/challenge", answer="perhaps")
    assert answer.status_code == 400
    assert "page-error" in Document(answer.text)
    assert merchant.session(path).status == "open"
