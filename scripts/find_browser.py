"""Make sure that there is a Chromium for the browser journeys; install the system's where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def find() -> str | None:
    """The path of a Chromium, or None."""
    chosen = os.environ.get("VISIONA_TEST_BROWSER")
    if chosen:
        return chosen
    found = (shutil.which(name) for name in CANDIDATES)
    return next((path for path in found if path), MAC_CHROME if Path(MAC_CHROME).exists() else None)


def install() -> None:
    """With Debian's package manager, as root; elsewhere a person has to."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return
    print("Installing Chromium for the browser journeys…", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    if find() is None:
        install()
    if find() is None:
        sys.exit(
            "The browser journeys need Chromium or Chrome: install it with your system's package manager "
            "(Debian: apt-get install chromium; macOS: brew install --cask google-chrome), or name one in "
            "VISIONA_TEST_BROWSER."
        )
