"""The handlers of all pages under one router, so that their errors are pages too."""

from typing import Final

from litestar import Router
from litestar.exceptions import HTTPException

from visiona.sandbox.clerk.errors import ClerkError
from visiona.sandbox.clerk.pages import account, sign_in, sign_up
from visiona.sandbox.clerk.pages.rendering import serve_avatar, serve_static
from visiona.sandbox.clerk.pages.wiring import answer_clerk_error, answer_http_error

HANDLERS: Final = [
    Router(
        "/",
        route_handlers=[
            serve_static,
            serve_avatar,
            sign_in.show_sign_in,
            sign_in.sign_in,
            sign_in.show_second_factor,
            sign_in.check_second_factor,
            sign_up.show_sign_up,
            sign_up.sign_up,
            sign_up.show_code,
            sign_up.check_code,
            sign_up.resend_code,
            account.show_account,
            account.add_email,
            account.verify_email,
            account.make_primary,
            account.remove_email,
            account.change_password,
            account.start_totp,
            account.confirm_totp,
            account.disable_totp,
            account.end_session,
            account.delete_account,
            account.show_sign_out,
            account.sign_out,
        ],
        exception_handlers={ClerkError: answer_clerk_error, HTTPException: answer_http_error},
        include_in_schema=False,
    )
]
