"""The mail sandbox on loopback ports, for whoever wants to read what was sent."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn

from visiona.sandbox.mail import MailSandboxConfig, create_app

KEY = "key of the mail sandbox/:@"


@dataclass(frozen=True)
class MailServer:
    """`http` is a client that has the key."""

    base: str
    port: int
    http: httpx.Client

    @property
    def smtp_url(self) -> str:
        return f"smtp://visiona:{quote(KEY, safe='')}@127.0.0.1:{self.port}"

    def messages(self, to: str = "") -> list[dict[str, Any]]:
        """Newest first."""
        return self.http.get("/_sandbox/messages", params={"to": to}).raise_for_status().json()

    def fault(self, fault: str, **parameters: Any) -> None:
        answer = self.http.post("/_sandbox/faults", json={"fault": fault, **parameters})
        assert answer.status_code == 201, answer.text

    def reset(self) -> None:
        self.http.post("/_sandbox/reset").raise_for_status()


@contextmanager
def run_mail_sandbox(folder: Path) -> Iterator[MailServer]:
    """A sandbox whose mails lie in `folder`; it ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = create_app(MailSandboxConfig(folder, base, 0, KEY, "test"))
        runner = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: runner.started or not thread.is_alive())
            with httpx.Client(base_url=base, headers={"authorization": f"Bearer {KEY}"}) as http:
                port = http.get("/_sandbox/state").raise_for_status().json()["smtp_port"]
                yield MailServer(base, port, http)
        finally:
            runner.should_exit = True
            thread.join()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
