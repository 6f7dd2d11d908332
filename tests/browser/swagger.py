"""Opens Swagger UI. Checks the order of its operations and their height, and its dark colours. Requests the current
user: with a password, an access token and an API token in its Authorize dialog, and after a reload.

usage: swagger.py URL USERNAME PASSWORD ACCESS_TOKEN API_TOKEN [FOLDER_FOR_SCREENSHOTS]
"""

import re
import struct
import sys
import zlib

from chromium import launch
from playwright.sync_api import expect, sync_playwright

url, username, password_of_user, bearer, api_token = sys.argv[1:6]
screenshots = sys.argv[6] if len(sys.argv) > 6 else None

with sync_playwright() as playwright:
    browser = launch(playwright)
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    elsewhere, faults = [], []
    origin = re.match(r"https?://[^/]+", url).group()
    page.on("request", lambda request: request.url.startswith((origin, "data:", "blob:")) or elsewhere.append(request.url))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))

    page.goto(url)
    expect(page.locator("#operations-Me-read_me")).to_be_visible()
    if screenshots:
        page.screenshot(path=f"{screenshots}/docs-page.png")

    # The groups and the first operations come in the order in which people use them.
    tags = page.locator(".opblock-tag").evaluate_all("tags => tags.map(tag => tag.dataset.tag)")
    assert tags == ["Auth", "Me", "Recovery", "Tokens", "Services", "Users", "Admin", "Operation"], tags
    ids = page.locator(".opblock").evaluate_all("all => all.map(one => one.id.split('-').pop())")
    first = ["register", "accept_invitation", "login", "refresh", "confirm_password", "logout"]
    assert ids[:6] == first and ids[ids.index("read_me") + 1] == "update_me", ids

    # Each operation fits on a screen.
    for name in ids:
        block = page.locator(f".opblock[id$='-{name}']")
        block.locator(".opblock-summary-control").click()
        expect(block.locator(".opblock-body .responses-wrapper")).to_be_visible()
        height = block.bounding_box()["height"]
        assert height <= page.viewport_size["height"], f"{name} is {height} pixels high"
        block.locator(".opblock-summary-control").click()
        expect(block.locator(".opblock-body")).to_have_count(0)

    def brightness():
        picture = page.screenshot(clip={"x": 4, "y": 300, "width": 1, "height": 1})
        parts, place = b"", 8
        while place < len(picture):
            length, kind = struct.unpack(">I4s", picture[place:place + 8])
            parts += picture[place + 8:place + 8 + length] if kind == b"IDAT" else b""
            place += 12 + length
        return max(zlib.decompress(parts)[1:4])

    assert brightness() > 200
    page.emulate_media(color_scheme="dark")
    assert brightness() < 60
    if screenshots:
        page.screenshot(path=f"{screenshots}/docs-dark.png")
    page.emulate_media(color_scheme="light")

    # The password form comes first, and has no fields for clients.
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".modal-ux")
    expect(dialog.locator(".auth-container h4").first).to_contain_text("OAuth2PasswordBearer")
    fields = dialog.locator(".auth-container").first.locator("input:visible, select:visible")
    shown = fields.evaluate_all("all => all.map(one => one.id)")
    assert shown == ["oauth_username", "oauth_password"], shown
    dialog.get_by_role("button", name="Close").first.click()

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

    operation = page.locator("#operations-Me-read_me")
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

    # The sign-in is kept over a reload, in this tab alone, without the password and the refresh token.
    authorize("OAuth2PasswordBearer", password)
    stores = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }])"
    kept = page.evaluate(stores)
    assert "access_token" in kept and password_of_user not in kept and "refresh" not in kept, kept
    assert page.evaluate("localStorage.length") == 0
    page.reload()
    expect(operation).to_be_visible()
    if not operation.locator(".opblock-body").is_visible():
        operation.locator(".opblock-summary-control").click()
    answer = who_am_i()
    assert answer.status == 200, answer.text()
    log_out("OAuth2PasswordBearer")
    assert "access_token" not in page.evaluate(stores)
    page.reload()
    expect(operation).to_be_visible()
    if not operation.locator(".opblock-body").is_visible():
        operation.locator(".opblock-summary-control").click()
    assert who_am_i().status == 401
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
