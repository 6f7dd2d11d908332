"""Opens Swagger UI and requests the current user: with a password, an access token and an API token in its
Authorize dialog.

usage: swagger.py URL USERNAME PASSWORD ACCESS_TOKEN API_TOKEN [FOLDER_FOR_SCREENSHOTS]
"""

import os
import re
import sys

from playwright.sync_api import expect, sync_playwright

url, username, password_of_user, bearer, api_token = sys.argv[1:6]
screenshots = sys.argv[6] if len(sys.argv) > 6 else None
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
    if screenshots:
        page.screenshot(path=f"{screenshots}/docs-page.png")

    def authorize(scheme, fill):
        page.get_by_role("button", name="Authorize").first.click()
        dialog = page.locator(".modal-ux")
        form = dialog.locator(".auth-container", has_text=scheme)
        fill(form)
        form.locator("button.authorize").click()
        expect(form.get_by_text("Authorized")).to_be_visible()
        dialog.get_by_role("button", name="Close").first.click()

    def log_out(scheme):
        page.get_by_role("button", name="Authorize").first.click()
        dialog = page.locator(".modal-ux")
        form = dialog.locator(".auth-container", has_text=scheme)
        form.get_by_role("button", name="Remove authorization").click()
        dialog.get_by_role("button", name="Close").first.click()

    operation = page.locator("#operations-Users-read_me")
    operation.locator(".opblock-summary-control").click()

    def who_am_i():
        with page.expect_response(lambda response: response.url.endswith("/users/me")) as answered:
            operation.get_by_role("button", name="Execute").click()
        return answered.value

    def password(form):
        form.locator("#oauth_username").fill(username)
        form.locator("#oauth_password").fill(password_of_user)

    def value_of(value):
        return lambda form: form.locator("input").fill(value)

    # The scheme's heading in the dialog, what fills its form, and the header that the browser must send.
    schemes = [
        ("OAuth2PasswordBearer", password, "authorization", None),
        ("Bearer (http", value_of(bearer), "authorization", f"Bearer {bearer}"),
        ("ApiKey (apiKey", value_of(api_token), "x-api-key", api_token),
    ]
    for scheme, fill, header, expected in schemes:
        authorize(scheme, fill)
        answer = who_am_i()
        assert answer.status == 200, f"{scheme}: /users/me answered {answer.status}: {answer.text()}"
        assert answer.json()["email"] == username, answer.text()
        sent = answer.request.headers.get(header)
        assert sent and (expected is None or sent == expected), f"{scheme} sent {sent}"
        status = operation.locator(".live-responses-table .response .response-col_status").first
        expect(status).to_contain_text("200")
        if screenshots and header == "x-api-key":
            operation.evaluate("operation => operation.scrollIntoView()")
            page.screenshot(path=f"{screenshots}/docs-authorized.png")
        log_out(scheme)
    answer = who_am_i()
    assert answer.status == 401, answer.status
    # The browser can report this to its console later.
    for _ in range(200):
        if faults:
            break
        page.wait_for_timeout(50)
    assert faults and all("401" in fault for fault in faults), faults
    faults.clear()
    assert not elsewhere, f"requests to other hosts: {elsewhere}"
    assert not faults, f"errors in the console: {faults}"
    print("200", username)
    browser.close()
