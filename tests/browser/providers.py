"""People sign in with another provider in a browser, with and without scripts: they register by it, sign out here and
there, sign in again, link it to an account with a password by the keyboard alone, and unlink it.

usage: providers.py URL OUTBOX AXE FOLDER_FOR_HTML KIND

KIND is `oidc-provider`, or `tessera` for another Tessera. The provider has the name `corp` at URL.
"""

import email
import json
import pathlib
import re
import sys
import time
import urllib.request

from chromium import launch
from look import Look, press
from playwright.sync_api import expect, sync_playwright

url, outbox, axe, html, kind = sys.argv[1:6]
password = "correct horse battery"
looking = Look(axe, html)


def go(page, act):
    """Does something that leads to another page, and waits for that page."""
    with page.expect_navigation():
        act()


def at_provider(page, person):
    """Does what the provider's pages ask for, until the browser is back. Returns whether it asked for a password."""
    asked = False
    for _ in range(6):
        if page.url.startswith(url + "/"):
            return asked
        if kind == "tessera":
            # Its pages are in the language of the browser too.
            if page.locator("input[name=password]").count():
                page.locator("input[name=email]").fill(f"{person}@corp.example")
                page.locator("input[name=password]").fill(password)
                go(page, page.locator("main button[type=submit]").click)
                asked = True
            else:
                go(page, page.locator("button[value=accept]").click)
        elif page.locator("input[name=login]").count():
            page.locator("input[name=login]").fill(person)
            page.locator("input[name=password]").fill("any")
            go(page, page.locator("button[type=submit]").click)
            asked = True
        else:
            go(page, page.locator("button[type=submit]").first.click)
    raise AssertionError(f"the provider does not lead back: {page.url} {page.content()}")


def link_to(address, kind_of_mail):
    """Returns the link in the first mail of a kind to an address."""
    for _ in range(2400):
        for file in sorted(pathlib.Path(outbox).glob(f"{kind_of_mail}-*.eml")):
            mail = email.message_from_bytes(file.read_bytes())
            if mail["To"] == address:
                text = mail.get_payload(0).get_payload(decode=True).decode()
                return re.search(r"https?://\S+", text).group(0)
        time.sleep(0.05)
    raise AssertionError(f"no mail {kind_of_mail} to {address}")


def register_with_password(page, address):
    body = json.dumps({"email": address, "password": password}).encode()
    request = urllib.request.Request(url + "/auth/register", body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request)
    page.goto(link_to(address, "verify"))
    page.get_by_label("Current password").fill(password)
    page.get_by_role("button", name="Verify", exact=True).click()
    expect(page.get_by_text("is verified")).to_be_visible()
    page.goto(url + "/login")
    page.get_by_label("E-mail address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("You are signed in as")).to_be_visible()


def watched(context, faults):
    page = context.new_page()
    page.on("console", lambda message: message.type == "error" and faults.append((page.url, message.text)))
    page.on("pageerror", lambda error: faults.append((page.url, str(error))))
    return page


def life(browser, scripts):
    """Somebody new registers and signs in with the provider, and signs out."""
    person = f"ada{int(scripts)}"
    faults = []
    context = browser.new_context(java_script_enabled=scripts)
    page = watched(context, faults)

    def seen(name):
        if scripts:
            looking.at(page, name)

    page.goto(url + "/register")
    seen("register-with-provider")
    page.goto(url + "/account")
    expect(page).to_have_url(re.compile("/login"))
    seen("login-with-provider")
    if scripts:
        go(page, lambda: press(page, "link", re.compile("corp")))
    else:
        go(page, page.get_by_role("link", name=re.compile("corp")).click)
    assert at_provider(page, person), "the provider asked for no password"
    # The way on is where the person wanted to go.
    expect(page).to_have_url(re.compile("/account$"))
    expect(page.get_by_text(f"{person}@corp.example").first).to_be_visible()
    seen("account-of-provider")
    page.goto(url + "/")
    page.get_by_role("button", name="Sign out").click()
    if kind == "oidc-provider":
        # A page leads on to the provider, which asks, and leads back.
        expect(page).to_have_url(url + "/logout/with/corp")
        seen("signed-out")
        go(page, page.get_by_role("link", name=re.compile("corp")).click)
        go(page, page.get_by_role("button", name=re.compile("Yes")).click)
        expect(page).to_have_url(url + "/login")
    else:
        expect(page).to_have_url(url + "/login")
    page.goto(url + "/account")
    expect(page).to_have_url(re.compile("/login"))
    go(page, page.get_by_role("link", name=re.compile("corp")).click)
    asked = at_provider(page, person)
    # Who signed out at the provider gives the password there again. Otherwise the provider still knows the person.
    assert asked == (kind == "oidc-provider"), f"the provider asked for a password: {asked}"
    expect(page.get_by_text(f"{person}@corp.example").first).to_be_visible()
    # A finished answer is refused, with a way on.
    page.goto(url + "/login/with/corp/callback?code=a&state=b")
    expect(page.get_by_role("heading").first).to_be_visible()
    seen("provider-refused")
    ours = [fault for fault in faults if fault[0].startswith(url) and "400" not in fault[1]]
    assert not ours, f"errors in the console: {ours}"
    return person


def linking(browser, scripts):
    """Somebody with a password links the provider by the keyboard alone, signs in with it, and unlinks it."""
    address, person = f"eve{int(scripts)}@user.com", f"eve{int(scripts)}"
    page = browser.new_context(java_script_enabled=scripts).new_page()
    register_with_password(page, address)
    page.goto(url + "/account/password")
    go(page, lambda: press(page, "link", re.compile("corp")))
    at_provider(page, person)
    # The page says which account it is before anything is linked.
    expect(page.get_by_text(f"{person}@corp.example").first).to_be_visible()
    if scripts:
        looking.at(page, "link")
    go(page, lambda: press(page, "button", re.compile("Link")))
    expect(page).to_have_url(re.compile("/account"))
    expect(page.get_by_text(f"{person}@corp.example").first).to_be_visible()
    if scripts:
        looking.at(page, "account-linked")
        owner = browser.new_page()
        owner.goto(link_to(address, "identity-linked"))
        looking.at(owner, "take-back")
        owner.close()
    other = browser.new_context(java_script_enabled=scripts).new_page()
    other.goto(url + "/login")
    go(other, other.get_by_role("link", name=re.compile("corp")).click)
    at_provider(other, person)
    expect(other.get_by_text(address).first).to_be_visible()
    page.goto(url + "/account/password")
    summary = page.locator("summary", has_text=re.compile("Unlink"))
    if summary.count():
        summary.first.click()
    section = page.locator("form", has=page.get_by_role("button", name=re.compile("Unlink")))
    if section.get_by_label("Current password").count():
        section.get_by_label("Current password").fill(password)
    section.get_by_role("button", name=re.compile("Unlink")).click()
    expect(page.get_by_role("status")).to_be_visible()
    assert page.get_by_text(f"{person}@corp.example").count() == 0
    other.goto(url + "/account")
    expect(other).to_have_url(re.compile("/login"))


def without_address(browser, scripts):
    """The provider says no address, so a page asks for one."""
    page = browser.new_context(java_script_enabled=scripts).new_page()
    page.goto(url + "/login")
    go(page, page.get_by_role("link", name=re.compile("corp")).click)
    at_provider(page, f"anonymous{int(scripts)}")
    if scripts:
        looking.at(page, "address")
    page.get_by_label("E-mail address").fill(f"anonymous{int(scripts)}@user.com")
    page.get_by_role("button").last.click()
    expect(page.get_by_text("You are signed in as")).to_be_visible()


def german(browser):
    page = browser.new_context(locale="de-CH").new_page()
    page.goto(url + "/login")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    looking.at(page, "login-german")
    page.goto(url + "/login/with/corp/callback?code=a&state=b")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    looking.at(page, "provider-refused-german")
    page.goto(url + "/login")
    go(page, page.get_by_role("link", name=re.compile("corp")).click)
    at_provider(page, "ada0")
    page.goto(url + "/account/password")
    looking.at(page, "account-german")
    if kind == "oidc-provider":
        page.goto(url + "/logout/with/corp")
        looking.at(page, "signed-out-german")
        page = browser.new_context(locale="de-CH").new_page()
        page.goto(url + "/login")
        go(page, page.get_by_role("link", name=re.compile("corp")).click)
        at_provider(page, "anonymous-german")
        looking.at(page, "address-german")


with sync_playwright() as playwright:
    browser = launch(playwright)
    for scripts in [False, True]:
        life(browser, scripts)
        linking(browser, scripts)
        if kind == "oidc-provider":
            without_address(browser, scripts)
    german(browser)
    browser.close()
print(f"{looking.count} pages were checked")
