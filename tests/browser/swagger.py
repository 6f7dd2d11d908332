"""Opens Swagger UI, signs in through its Authorize dialog, and asks who the user is.

usage: swagger.py URL USERNAME PASSWORD [SCREENSHOT]
"""

import os
import re
import sys

from playwright.sync_api import expect, sync_playwright

url, username, password = sys.argv[1:4]
screenshot = sys.argv[4] if len(sys.argv) > 4 else None
chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
arguments = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    elsewhere, faults = [], []
    origin = re.match(r"https?://[^/]+", url).group()
    page.on("request", lambda request: request.url.startswith((origin, "data:", "blob:")) or elsewhere.append(request.url))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))

    page.goto(url)
    expect(page.locator("#operations-Users-read_me")).to_be_visible()
    if screenshot:
        page.screenshot(path=screenshot)

    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    form = dialog.locator(".auth-container", has_text="OAuth2PasswordBearer")
    form.locator("#oauth_username").fill(username)
    form.locator("#oauth_password").fill(password)
    form.locator("button.authorize").click()
    expect(form.get_by_text("Authorized")).to_be_visible()
    dialog.get_by_role("button", name="Close").first.click()

    operation = page.locator("#operations-Users-read_me")
    operation.locator(".opblock-summary-control").click()
    with page.expect_response(lambda response: response.url.endswith("/users/me")) as answered:
        operation.get_by_role("button", name="Execute").click()
    answer = answered.value
    assert answer.status == 200, f"/users/me answered {answer.status}: {answer.text()}"
    assert answer.json()["email"] == username, answer.text()
    status = operation.locator(".live-responses-table .response .response-col_status").first
    expect(status).to_contain_text("200")
    assert not elsewhere, f"asked elsewhere: {elsewhere}"
    assert not faults, f"the page complains: {faults}"
    print("200", answer.json()["email"])
    browser.close()
