"""The life of an account in a browser, with and without scripts: register, confirm with the link of the mail, sign in,
make an API token and use it, change the password and be signed out in another browser, delete the account.

After that, a superuser administers: a user is refused and promoted, and their sessions are ended.

usage: pages.py URL OUTBOX AXE FOLDER_FOR_HTML SUPERUSER [FOLDER_FOR_SCREENSHOTS]

axe-core checks every page, and the HTML of every page is written to the folder.
"""

import email
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from applications import Applications
from chromium import launch
from playwright.sync_api import expect, sync_playwright

url, outbox, axe, html, superuser = sys.argv[1:6]
screenshots = sys.argv[6] if len(sys.argv) > 6 else None
axe = pathlib.Path(axe).read_text()
password, changed = "correct horse battery", "battery staple correct"
looked_at = 0


def link_to(address, kind, number=1):
    """Returns the link in the first mail of a kind to an address, or in a later one."""
    for _ in range(2400):
        files = sorted(pathlib.Path(outbox).glob(f"{kind}-*.eml"))
        mails = [email.message_from_bytes(file.read_bytes()) for file in files]
        mails = [mail for mail in mails if mail["To"] == address]
        if len(mails) >= number:
            text = mails[number - 1].get_payload(0).get_payload(decode=True).decode()
            return url + re.search(r"http://localhost:\d+(\S+)", text).group(1)
        time.sleep(0.05)
    raise AssertionError(f"no mail {kind} to {address}")


def look(page, name):
    """Checks a page with axe-core, writes its HTML, and takes screenshots."""
    global looked_at
    looked_at += 1
    pathlib.Path(html, f"{looked_at}-{name}.html").write_text(page.content())
    with_scripts = page.evaluate("() => true")
    if with_scripts:
        page.evaluate(axe)
        # The dark scheme differs only in its colours.
        for scheme, rules in [("dark", '{runOnly: ["color-contrast"]}'), ("light", "{}")]:
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(f"() => axe.run({rules})")
            violations = [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]]
            assert not violations, f"{name}, {scheme}: {violations}"
        for width in [320, 390, 768, 1024, 1280]:
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("() => document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} pixels wide in a window of {width}"
    if screenshots:
        page.evaluate("() => scrollTo(0, 0)")
        for scheme in ["light", "dark"]:
            for device, size in [("desktop", (1280, 900)), ("phone", (390, 844))]:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": size[0], "height": size[1]})
                page.screenshot(path=f"{screenshots}/{name}-{scheme}-{device}.png", full_page=True)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 900})


def sign_in(page, address, password):
    page.goto(url + "/login")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("You are signed in as")).to_be_visible()


def register(address):
    body = json.dumps({"email": address, "password": password}).encode()
    urllib.request.urlopen(urllib.request.Request(url + "/auth/register", body, {"Content-Type": "application/json"}))


def invited(browser, page, scripts):
    """A superuser invites a person and creates a user. The person opens the link, chooses a password and is signed in."""
    address = f"invited{int(scripts)}@user.com"
    page.goto(url + "/admin/users")
    form = page.get_by_role("region", name="Invite a user")
    form.get_by_label("E-mail address").fill(address)
    form.get_by_label("First name").fill("Grace")
    form.get_by_role("button", name="Invite a user").click()
    expect(page.get_by_role("status")).to_have_text("The invitation is on its way.")
    pending = page.get_by_role("region", name="Invitations that were not accepted")
    expect(pending).to_contain_text(address)
    form = page.get_by_role("region", name="Create a user")
    form.get_by_label("E-mail address").fill(f"made{int(scripts)}@user.com")
    form.get_by_label("Password of the new user").fill(password)
    form.get_by_label("Current password").fill("not this one")
    form.get_by_role("button", name="Create a user").click()
    expect(form.get_by_role("alert")).to_have_text("The password is wrong. Try again.")
    form.get_by_label("Password of the new user").fill(password)
    form.get_by_label("Current password").fill(password)
    form.get_by_role("button", name="Create a user").click()
    expect(page.get_by_role("status")).to_have_text("The user is created.")
    if scripts:
        look(page, "admin-invitations")
    person = browser.new_context(java_script_enabled=scripts).new_page()
    person.goto(link_to(address, "invitation"))
    expect(person.get_by_label("First name")).to_have_value("Grace")
    if scripts:
        look(person, "accept-invitation")
    person.get_by_label("Password").fill(changed)
    person.get_by_role("button", name="Accept and sign in").click()
    expect(person.get_by_role("status")).to_contain_text("Your account is ready")
    person.goto(link_to(address, "invitation"))
    if scripts:
        look(person, "accept-invitation-used")
    page.reload()
    expect(pending).not_to_contain_text(address)


def administration(browser, scripts):
    """A user without the scope is refused, gets the scope, and sees the pages. A superuser ends their session."""
    address = f"clerk{int(scripts)}@user.com"
    register(address)
    # A user with the longest permitted address and a long User-Agent.
    long = f"{int(scripts)}{'a' * 63}@{'b' * 63}.{'c' * 63}.{'d' * 57}.com"
    if not screenshots:
        register(long)
        form = urllib.parse.urlencode({"username": long, "password": password}).encode()
        urllib.request.urlopen(urllib.request.Request(url + "/auth/jwt/login", form, {"User-Agent": "x" * 400}))
    clerk = browser.new_context(java_script_enabled=scripts).new_page()
    sign_in(clerk, address, password)
    clerk.goto(url + "/admin")
    expect(clerk.get_by_role("alert")).to_contain_text("“admin”")

    def seen(page, name):
        if scripts:
            look(page, name)

    seen(clerk, "refused")
    page = browser.new_context(java_script_enabled=scripts).new_page()
    sign_in(page, superuser, password)
    seen(page, "home-superuser")
    page.get_by_role("link", name="Administration").first.click()
    seen(page, "admin")
    page.get_by_role("link", name="Users").first.click()
    page.get_by_label("E-mail address or name").fill(address)
    page.get_by_role("search").get_by_role("button", name="Show").click()
    seen(page, "admin-users")
    page.get_by_role("link", name=address).click()
    page.get_by_label("Scopes, separated by spaces").fill("authenticated admin")
    rights = page.get_by_role("region", name="Status and scopes")
    rights.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    profile = page.get_by_role("region", name="Profile")
    profile.get_by_label("First name").fill("Ada")
    profile.get_by_role("button", name="Save profile").click()
    expect(page.get_by_role("status")).to_have_text("Saved.")
    seen(page, "admin-user")
    invited(browser, page, scripts)
    # The cookie from before the promotion does not open the new pages.
    clerk.goto(url + "/admin")
    expect(clerk).to_have_url(url + "/login?next=/admin")
    sign_in(clerk, address, password)
    clerk.goto(url + "/admin/users")
    expect(clerk.get_by_role("link", name=address)).to_be_visible()
    seen(clerk, "admin-users-seen")

    page.goto(url + "/admin/signed-in")
    seen(page, "admin-signed-in")
    page.get_by_role("button", name=f"End session: {address}").first.click()
    expect(page.get_by_role("status")).to_have_text("The session has ended.")
    clerk.goto(url + "/admin")
    expect(clerk).to_have_url(url + "/login?next=/admin")

    page.goto(url + "/admin/api-tokens")
    service = page.get_by_role("region", name="Create service")
    service.get_by_label("Name").fill(f"shop{int(scripts)}")
    service.get_by_label("Scopes").fill("tokens:introspect")
    service.get_by_role("button").click()
    token = page.get_by_role("region", name="Create API token")
    token.get_by_label("Owner").fill(f"shop{int(scripts)}")
    token.get_by_label("Current password").fill(password)
    token.get_by_role("button", name="Create API token").click()
    secret = page.get_by_role("status").get_by_role("code").inner_text()
    assert secret.startswith("tsr_"), secret
    seen(page, "admin-api-tokens")
    for name, title in [
        ("apps", "Applications"), ("revoked", "Revocations"), ("events", "Audit log"), ("mails", "Queued e-mails"),
        ("signing-keys", "Signing keys"), ("servers", "Replicas"), ("settings", "Settings"),
    ]:
        page.goto(f"{url}/admin/{name}")
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
        seen(page, f"admin-{name}")


def confirmed(browser, scripts):
    """A superuser who gave their password too long ago must give it again, and no input is lost."""
    stale = os.environ.get("STALE_URL")
    if not stale:
        return
    page = browser.new_context(java_script_enabled=scripts).new_page()
    page.goto(stale + "/login")
    page.get_by_label("E-mail address").fill(superuser)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("You are signed in as")).to_be_visible()
    # On that server a password is fresh for one second.
    page.wait_for_timeout(2100)
    page.goto(stale + "/admin/api-tokens")
    name = f"stale{int(scripts)}"
    service = page.get_by_role("region", name="Create service")
    service.get_by_label("Name").fill(name)
    service.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Confirm with your password")).to_be_visible()
    if scripts:
        look(page, "admin-confirm")
    page.get_by_label("Current password").fill("not this one")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("alert")).to_have_text("The password is wrong. Try again.")
    if scripts:
        look(page, "admin-confirm-wrong")
    page.get_by_label("Current password").fill(password)
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_role("region", name="Services")).to_contain_text(name)


def german(browser):
    context = browser.new_context(locale="de-CH")
    page = context.new_page()
    page.goto(url + "/login")
    expect(page.get_by_role("button", name="Anmelden")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "de"
    look(page, "login-german")
    page.get_by_label("E-Mail-Adresse").fill(superuser)
    page.get_by_label("Passwort").fill(password)
    page.get_by_role("button", name="Anmelden").click()
    page.goto(url + "/")
    look(page, "home-german")
    page.goto(url + "/account")
    look(page, "account-german")
    for section in ["password", "events"]:
        page.goto(f"{url}/account/{section}")
        look(page, f"account-{section}-german")
    page.goto(url + "/admin/events")
    look(page, "admin-events-german")
    page.goto(url + "/admin")
    look(page, "admin-german")


def hijacked(browser, scripts):
    """Another person registered an address, and its owner takes the account over."""
    address = f"victim{int(scripts)}@user.com"
    register(address)
    thief = browser.new_context(java_script_enabled=scripts).new_page()
    sign_in(thief, address, password)
    page = browser.new_context(java_script_enabled=scripts).new_page()
    page.goto(link_to(address, "verify"))
    owner = page.get_by_role("region", name="You did not register?")
    owner.get_by_label("New password").fill(changed)
    owner.get_by_role("button", name="Set password and verify address").click()
    expect(page.get_by_text("Everyone else was signed out")).to_be_visible()
    thief.goto(url + "/")
    expect(thief).to_have_url(url + "/login?next=/")
    # A reset offers to delete API tokens.
    sign_in(page, address, changed)
    page.goto(url + "/account/tokens")
    tokens = page.get_by_role("region", name="API tokens")
    tokens.get_by_label("Current password").fill(changed)
    tokens.get_by_role("button", name="Create API token").click()
    page.goto(url + "/forgot-password")
    page.get_by_role("button", name="Send e-mail").click()
    page.goto(link_to(address, "reset-password"))
    page.get_by_label("Also delete the API token of this account").check()
    if scripts:
        look(page, "reset-password-tokens")
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your new password is set")).to_be_visible()


def times(page, scripts):
    """With scripts, a time is in words, and the exact one is there for a pointer and for screen readers."""
    page.goto(url + "/account/events")
    shown = page.locator("time").first
    if not scripts:
        return expect(shown).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC$"))
    expect(shown.locator("[aria-hidden]")).to_have_text(re.compile("now|second|minute"))
    expect(shown.locator(".unseen")).to_have_text(re.compile(r"20\d\d.*\d:\d\d"))
    assert shown.get_attribute("title") == shown.locator(".unseen").inner_text()


def folds(page, scripts):
    """In a narrow window, the menu is folded until somebody opens it, also without scripts."""
    page.set_viewport_size({"width": 390, "height": 844})
    place = page.locator(".menu").get_by_role("link", name="API tokens")
    expect(place).not_to_be_visible()
    page.locator(".menu summary").click()
    expect(place).to_be_visible()
    place.click()
    expect(page).to_have_url(url + "/account/tokens")
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(page.locator(".places").get_by_role("link", name="API tokens")).to_be_visible()
    expect(page.locator(".menu")).not_to_be_visible()


def reveals(section, scripts, typed):
    """With scripts, a button shows a password that was typed. Without, there is none."""
    button = section.get_by_role("button", name="Show")
    if not scripts:
        return expect(button).to_have_count(0)
    field = section.get_by_label("New password")
    button.click()
    expect(field).to_have_attribute("type", "text")
    expect(field).to_have_value(typed)
    section.get_by_role("button", name="Hide").click()
    expect(field).to_have_attribute("type", "password")


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
    if scripts:
        for typed, told in [("p4ssword1", "Easy to guess"), (password, "Hard to guess")]:
            page.get_by_label("Password").press_sequentially(typed)
            expect(page.get_by_role("status")).to_have_text(told)
            seen("register-strength")
            page.get_by_label("Password").fill("")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_text("You are registered")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value(address)
    seen("registered")
    page.goto(link_to(address, "verify"))
    seen("verify")
    page.get_by_label("Current password").fill("wrong")
    page.get_by_role("button", name="Verify", exact=True).click()
    expect(page.get_by_label("Current password")).to_be_focused()
    seen("verify-refused")
    page.get_by_label("Current password").fill(password)
    page.get_by_role("button", name="Verify", exact=True).click()
    expect(page.get_by_text("is verified")).to_be_visible()
    page.goto(url + "/request-verify-token")
    seen("request-verify-token")

    page.goto(url + "/login?next=/account")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("E-mail address")).to_have_value(address)
    expect(page).to_have_title("Error: Sign in – Tessera")
    expect(page.get_by_label("Password")).to_be_focused()
    seen("login-refused")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(url + "/account")
    expect(page.get_by_text(f"{address} verified")).to_be_visible()
    seen("account")
    for section in ["email", "password", "sessions", "events", "data"]:
        page.goto(f"{url}/account/{section}")
        expect(page.get_by_role("link", name="Profile").first).to_be_attached()
        seen(f"account-{section}")
    times(page, scripts)
    folds(page, scripts)
    page.goto(url + "/account")

    profile = page.get_by_role("region", name="Profile")
    profile.get_by_label("Website").fill("javascript:alert(1)")
    profile.get_by_role("button", name="Save").click()
    expect(profile.get_by_label("Website")).to_have_attribute("aria-invalid", "true")
    expect(profile.get_by_label("Website")).to_be_focused()
    seen("account-refused")
    # The flash message is shown once. Neither a reload nor going back submits the form again.
    profile.get_by_label("Website").fill("https://example.com")
    profile.get_by_role("button", name="Save").click()
    expect(page).to_have_url(url + "/account#profile-title")
    expect(page.get_by_role("status")).to_have_text("Saved.")
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)
    page.get_by_role("link", name="Tessera").click()
    page.go_back()
    expect(profile.get_by_label("Website")).to_have_value("https://example.com")
    page.goto(url + "/account/tokens")
    tokens = page.get_by_role("region", name="API tokens")
    tokens.get_by_label("Name (what it is for)").fill("a script")
    tokens.get_by_label("Current password").fill(password)
    tokens.get_by_role("button", name="Create API token").click()
    secret = page.get_by_role("region", name="Your new API token").get_by_role("code").inner_text()
    seen("account-token")
    curl = ["curl", "--silent", "--fail", "--header", f"Authorization: Bearer {secret}", url + "/users/me"]
    assert json.loads(subprocess.run(curl, capture_output=True, check=True).stdout)["email"] == address

    # The page asks for confirmation before it deletes the token, also without scripts.
    page.goto(url + "/account/tokens")
    page.locator("summary", has_text="Delete").click()
    seen("account-delete-token")
    page.get_by_role("button", name="Delete: a script").click()
    expect(page.get_by_role("status")).to_have_text("The API token is deleted.")

    other = browser.new_context(java_script_enabled=scripts).new_page()
    other.goto(url + "/login")
    other.get_by_label("E-mail address").fill(address)
    other.get_by_label("Password").fill(password)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_text("You are signed in as")).to_be_visible()
    # The password that made the token counts here too.
    page.goto(url + "/account/password")
    section = page.get_by_role("region", name="Password", exact=True)
    expect(section.get_by_label("Current password")).to_have_count(0)
    seen("account-proved")
    section.get_by_label("New password").fill(changed)
    reveals(section, scripts, changed)
    section.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("status")).to_contain_text("new password")
    other.goto(url + "/")
    expect(other).to_have_url(url + "/login?next=/")

    # A sign-in of another person, who knew the new password.
    sign_in(other, address, changed)
    page.goto(url + "/account/events")
    page.get_by_role("region", name="Recent activity").get_by_role("button", name="not me").first.click()
    expect(page.get_by_role("status")).to_contain_text("Choose a new password now")
    other.goto(url + "/")
    expect(other).to_have_url(url + "/login?next=/")

    page.goto(url + "/")
    seen("home")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(url + "/login")
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    seen("signed-out")
    page.goto(url + "/nowhere")
    expect(page.get_by_role("link", name="Start page")).to_be_visible()
    seen("not-found")
    page.goto(url + "/login")
    page.get_by_role("link", name="Forgot your password?").click()
    seen("forgot-password")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_role("button", name="Send e-mail").click()
    expect(page.get_by_role("status")).to_contain_text(address)
    seen("forgot-password-sent")
    page.goto(link_to(address, "reset-password"))
    expect(page.get_by_text("Account: " + address)).to_be_visible()
    seen("reset-password")
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your new password is set")).to_be_visible()

    # Another person changes the address of the account, and its owner takes it back.
    sign_in(page, address, password)
    page.goto(url + "/account/email")
    moved = page.get_by_role("region", name="E-mail address")
    moved.get_by_label("New e-mail address").fill("moved-" + address)
    moved.get_by_label("Current password").fill(password)
    moved.get_by_role("button", name="Change e-mail address").click()
    expect(page.get_by_role("status")).to_contain_text("address is changed")
    page.goto(link_to(address, "email-changed"))
    seen("restore-email")
    page.get_by_role("button", name="Restore address").click()
    expect(page.get_by_text("previous e-mail address is restored")).to_be_visible()
    page.goto(link_to(address, "reset-password", 2))
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Set password").click()

    sign_in(page, address, password)
    page.goto(url + "/account/data")
    data = page.get_by_role("region", name="Download your data")
    with page.expect_download() as download:
        data.get_by_label("Current password").fill(password)
        data.get_by_role("button", name="Download your data").click()
    assert json.load(open(download.value.path()))["user"]["email"] == address
    leave = page.get_by_role("region", name="Delete your account")
    leave.get_by_label("Current password").fill(password)
    leave.locator("summary").click()
    seen("account-delete")
    leave.get_by_role("button", name="Delete account").click()
    expect(page.get_by_text("Your account and all its data are deleted")).to_be_visible()
    page.goto(url + "/account")
    expect(page).to_have_url(url + "/login?next=/account")
    assert not elsewhere, f"requests to other hosts: {elsewhere}"
    # Browsers report the refused sign-in and the refused field to their console.
    faults = [fault for fault in faults if not re.search("40[04]|422", fault)]
    assert not faults, f"errors in the console: {faults}"


applications = Applications(url, look, register, sign_in, (superuser, password))
with sync_playwright() as playwright:
    browser = launch(playwright)
    for scripts in [False, True]:
        life(browser, scripts)
        hijacked(browser, scripts)
        administration(browser, scripts)
        confirmed(browser, scripts)
        applications.life(browser, scripts)
    german(browser)
    applications.german(browser)
    browser.close()
print(f"{looked_at} pages were checked")
