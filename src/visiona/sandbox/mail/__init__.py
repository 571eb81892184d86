"""A local stand-in for a mail server and the inbox of everybody: what is sent to it can be read in a browser.

It takes mail over SMTP from this machine, delivers nothing to anybody, keeps the last mails over a restart,
and fails on request. It never runs in production, and its pages say what they are.
"""

from visiona.sandbox.mail.app import create_app
from visiona.sandbox.mail.config import MailSandboxConfig

__all__ = ["MailSandboxConfig", "create_app"]
