"""The life of an account in a browser, without scripts and with them: register, confirm by the mail's link, sign in,
make an API token and use it, change the password here and be signed out there, delete the account.

usage: pages.py URL OUTBOX AXE FOLDER_FOR_HTML [FOLDER_FOR_SCREENSHOTS]

Every page is looked at by axe-core, and its HTML written to the folder.
"""

import email
import json
import os
import pathlib
import re
import sys
import time
import urllib.request

from playwright.sync_api import expect, sync_playwright

url, outbox, axe, html = sys.argv[1:5]
screenshots = sys.argv[5] if len(sys.argv) > 5 else None
axe = pathlib.Path(axe).read_text()
chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
password, changed = "correct horse battery", "battery staple correct"
looked_at = 0


def link_to(address, kind):
    for _ in range(300):
        for file in sorted(pathlib.Path(outbox).glob(f"{kind}-*.eml")):
            mail = email.message_from_bytes(file.read_bytes())
            if mail["To"] == address:
                text = mail.get_payload(0).get_payload(decode=True).decode()
                return url + re.search(r"http://localhost:8000(\S+)", text).group(1)
        time.sleep(0.05)
    raise AssertionError(f"no mail {kind} to {address}")


def look(page, name):
    """What axe-core has to say of a page, its HTML, and how it looks."""
    global looked_at
    looked_at += 1
    pathlib.Path(html, f"{looked_at}-{name}.html").write_text(page.content())
    with_scripts = page.evaluate("() => true")
    if with_scripts:
        page.evaluate(axe)
        for scheme in ["dark", "light"]:
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("() => axe.run()")
            violations = [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]]
            assert not violations, f"{name}, {scheme}: {violations}"
    if screenshots:
        for scheme in ["light", "dark"]:
            for device, size in [("desktop", (1280, 900)), ("phone", (390, 844))]:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": size[0], "height": size[1]})
                page.screenshot(path=f"{screenshots}/{name}-{scheme}-{device}.png", full_page=True)
        page.emulate_media(color_scheme="light")


def life(browser, scripts):
    address = f"person{int(scripts)}@user.com"
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    elsewhere, faults = [], []
    page.on("request", lambda request: request.url.startswith(url) or elsewhere.append(request.url))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))

    def seen(name):
        if scripts:
            look(page, name)

    page.goto(url + "/account")
    expect(page).to_have_url(url + "/login?next=/account")
    seen("login")
    page.get_by_role("link", name="Register").click()
    seen("register")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_text("You are registered")).to_be_visible()
    seen("registered")
    page.goto(link_to(address, "verify"))
    seen("verify")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("is confirmed")).to_be_visible()

    page.goto(url + "/login?next=/account")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value(address)
    seen("login-refused")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(url + "/account")
    expect(page.get_by_text(f"{address}, confirmed")).to_be_visible()
    seen("account")

    tokens = page.get_by_role("region", name="API tokens")
    tokens.get_by_label("What is it for?").fill("a script")
    tokens.get_by_label("Your password").fill(password)
    tokens.get_by_role("button", name="Make a token").click()
    secret = page.get_by_role("region", name="Your new API token").get_by_role("code").inner_text()
    seen("account-token")
    request = urllib.request.Request(url + "/users/me", headers={"Authorization": f"Bearer {secret}"})
    assert json.load(urllib.request.urlopen(request))["email"] == address

    other = browser.new_context(java_script_enabled=scripts).new_page()
    other.goto(url + "/login")
    other.get_by_label("E-mail address").fill(address)
    other.get_by_label("Password").fill(password)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_text("You are signed in as")).to_be_visible()
    section = page.get_by_role("region", name="Password", exact=True)
    section.get_by_label("Your password").fill(password)
    section.get_by_label("New password").fill(changed)
    section.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status")).to_contain_text("new password")
    other.goto(url + "/")
    expect(other).to_have_url(url + "/login?next=/")

    page.goto(url + "/")
    seen("home")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(url + "/login")
    page.get_by_role("link", name="Forgot your password?").click()
    seen("forgot-password")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("button", name="Send the mail").click()
    page.goto(link_to(address, "reset-password"))
    seen("reset-password")
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("You have a new password")).to_be_visible()

    page.goto(url + "/login?next=/account")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    leave = page.get_by_role("region", name="Take your data, or leave")
    leave.get_by_label("Your password").fill(password)
    leave.get_by_role("button", name="Delete the account").click()
    expect(page).to_have_url(url + "/login")
    assert not elsewhere, f"asked elsewhere: {elsewhere}"
    # The refused sign-in is told to the console of browsers.
    faults = [fault for fault in faults if "400" not in fault]
    assert not faults, f"a page complains: {faults}"


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
    for scripts in [False, True]:
        life(browser, scripts)
    browser.close()
print(f"{looked_at} pages were looked at")
