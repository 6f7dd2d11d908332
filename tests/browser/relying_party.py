"""Signs in to an application in a browser: opens its page, gives the address and the password on Tessera's page, accepts
there if it asks for consent, and prints the text of the page at which the application shows who signed in.

usage: relying_party.py URL USERNAME PASSWORD
"""

import sys

from chromium import launch
from playwright.sync_api import expect, sync_playwright

url, username, password = sys.argv[1:4]

with sync_playwright() as playwright:
    browser = launch(playwright)
    page = browser.new_page()
    faults = []
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.goto(url)
    page.get_by_label("E-mail address").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    accept = page.get_by_role("button", name="Allow")
    signed_in = page.locator("#signed-in")
    expect(accept.or_(signed_in)).to_be_visible()
    asked = accept.is_visible()
    if asked:
        accept.click()
    try:
        expect(signed_in).to_be_visible()
    except AssertionError:
        sys.exit(f"{page.url}: {page.content()} {faults}")
    print("asked" if asked else "not asked")
    print(signed_in.inner_text())
    assert not [fault for fault in faults if "favicon" not in fault and "404" not in fault], faults
    browser.close()
