"""The browser of the tests."""

import os

from playwright.sync_api import expect

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: The longest wait, in milliseconds: far longer than anything takes, also on a slow machine that does other work.
PATIENCE = 120_000


def launch(playwright):
    """Starts the Chromium that CHROMIUM names, or the one of the system."""
    program = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    expect.set_options(timeout=PATIENCE)
    browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=PATIENCE)
    for name in ["new_context", "new_page"]:
        setattr(browser, name, patient(getattr(browser, name)))
    return browser


def patient(make):
    """Makes contexts or pages that wait for longer than Playwright does by itself."""

    def made(**options):
        one = make(**options)
        one.set_default_timeout(PATIENCE)
        return one

    return made
