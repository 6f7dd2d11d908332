"""Applications sign people in in a browser, with and without scripts: by the keyboard alone they consent, deny, get the
answer in a form, and see why they cannot use an application.

The clients are `app`, `ledger`, which requires a scope that nobody has, and `archive`, which requires a verified address.
All lead to APP_URL.
"""

import http.server
import os
import re
import threading
import urllib.parse

from look import press
from playwright.sync_api import expect

APP_URL = os.environ["APP_URL"]


class Application(http.server.BaseHTTPRequestHandler):
    """An application. It says that people have arrived, and what a form brought."""

    def do_GET(self):
        self.answer("arrived")

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        names = [name for name, _ in urllib.parse.parse_qsl(form)]
        self.answer("a form arrived with " + " ".join(sorted(names)))

    def answer(self, said):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<!doctype html><title>app</title><link rel=icon href=data:,><p>{said}</p>".encode())

    def log_message(self, *_):
        pass


class Applications:
    """The applications of a server, and how tests look at pages there."""

    def __init__(self, url, look, register, sign_in, superuser):
        self.url, self.look, self.register, self.sign_in, self.superuser = url, look, register, sign_in, superuser
        served = http.server.ThreadingHTTPServer(("127.0.0.1", urllib.parse.urlsplit(APP_URL).port), Application)
        threading.Thread(target=served.serve_forever, daemon=True).start()

    def request(self, **changes):
        """Returns the URL of a request of the application `app`."""
        parameters = {
            "client_id": "app", "redirect_uri": APP_URL + "/callback", "response_type": "code",
            "scope": "openid email groups offline_access", "state": "s", "nonce": "n", "prompt": "consent",
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "code_challenge_method": "S256",
        }
        return f"{self.url}/oauth2/authorize?" + urllib.parse.urlencode(parameters | changes)

    def life(self, browser, scripts):
        """A user signs in to an application, consents, and takes the consent back."""
        address, password = f"shopper{int(scripts)}@user.com", self.superuser[1]
        self.register(address)
        page = browser.new_context(java_script_enabled=scripts).new_page()
        faults = []
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))

        def seen(name):
            if scripts:
                self.look(page, name)

        page.goto(self.request())
        seen("application-login")
        page.get_by_label("E-mail address").fill(address)
        page.get_by_label("Password").fill(password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Allow")).to_be_visible()
        seen("application-consent")
        press(page, "button", "Deny")
        page.wait_for_url(APP_URL + "/callback?*")
        assert "error=access_denied" in page.url, page.url
        page.goto(self.request())
        press(page, "button", "Allow")
        page.wait_for_url(APP_URL + "/callback?*")
        assert "code=" in page.url, page.url
        self.by_form(page, scripts)
        page.goto(self.url + "/account/apps")
        expect(page.get_by_role("heading", name="The app")).to_be_visible()
        seen("account-apps")
        press(page, "button", "End the access of The app")
        expect(page.get_by_role("status")).to_be_visible()
        assert page.get_by_role("heading", name="The app").count() == 0
        assert not faults, f"errors in the console: {faults}"
        self.not_for_user(page, address, scripts)
        page.goto(self.request(redirect_uri=APP_URL + "/callback/"))
        # A development server shows everybody what only administrators see on another.
        expect(page.get_by_text("tessera client update")).to_be_visible()
        seen("application-refused")
        # Browsers report the refused pages to their console.
        faults = [fault for fault in faults if not re.search("40[03]", fault)]
        assert not faults, f"errors in the console: {faults}"
        self.administration(browser, scripts)

    def by_form(self, page, scripts):
        """An application gets its answer in a form: a script sends it, and without scripts a button does."""
        request = self.request(response_mode="form_post")
        page.goto(request)
        press(page, "button", "Allow")
        if not scripts:
            expect(page.get_by_role("heading", name="Continue to the application")).to_be_visible()
            press(page, "button", "Continue")
        expect(page.get_by_text("a form arrived with code iss state")).to_be_visible()
        assert page.url == APP_URL + "/callback", page.url
        page.goto(request)
        press(page, "button", "Deny")
        if not scripts:
            press(page, "button", "Continue")
        expect(page.get_by_text("a form arrived with error error_description iss state")).to_be_visible()
        # Nothing is asked after the consent.
        page.goto(self.request(response_mode="form_post", prompt="none"))
        if not scripts:
            press(page, "button", "Continue")
        expect(page.get_by_text("a form arrived with code iss state")).to_be_visible()
        if not scripts:
            return
        # The page before its script is there.
        self.without_its_script(page)
        page.goto(request)
        press(page, "button", "Allow")
        expect(page.get_by_role("button", name="Continue")).to_be_visible()
        self.look(page, "application-form")
        press(page, "button", "Continue")
        expect(page.get_by_text("a form arrived with code iss state")).to_be_visible()
        page.unroute("**/send.js")

    def without_its_script(self, page):
        """Gives a browser an empty file instead of the script that sends the answer."""
        page.route("**/send.js", lambda route: route.fulfill(body="", content_type="text/javascript"))

    def not_for_user(self, page, address, scripts):
        """A user cannot use an application, sees why, and goes back to it or uses another account."""
        for client, name, why in [
            ("ledger", "application-not-allowed", "not allowed to use this application"),
            ("archive", "application-not-verified", "requires a verified e-mail address"),
        ]:
            page.goto(self.request(client_id=client))
            expect(page.get_by_role("heading", name=f"You cannot use The {client}")).to_be_visible()
            expect(page.get_by_role("alert")).to_contain_text(why)
            if scripts:
                self.look(page, name)
            press(page, "button", f"Back to The {client}")
            page.wait_for_url(APP_URL + "/callback?*")
            assert "error=access_denied" in page.url and "code=" not in page.url, page.url
        page.goto(self.request(client_id="archive"))
        press(page, "link", "Send the verification e-mail again")
        expect(page.get_by_role("button", name="Send e-mail")).to_be_visible()
        page.goto(self.request(client_id="ledger"))
        press(page, "link", "Use another account")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        # The other account leads to the same application.
        address = "other-" + address
        self.register(address)
        page.get_by_label("E-mail address").fill(address)
        page.get_by_label("Password").fill(self.superuser[1])
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="You cannot use The ledger")).to_be_visible()

    def administration(self, browser, scripts):
        """A superuser sees the applications, and what was refused."""
        page = browser.new_context(java_script_enabled=scripts).new_page()
        self.sign_in(page, *self.superuser)
        page.goto(self.url + "/admin/apps")
        expect(page.get_by_text("The app").first).to_be_visible()
        if scripts:
            self.look(page, "admin-apps")
        page.get_by_role("link", name="The app").first.click()
        expect(page.get_by_role("heading", name="The app")).to_be_visible()
        expect(page.get_by_text("redirect_uri.not_registered").first).to_be_visible()
        if scripts:
            self.look(page, "admin-app")

    def german(self, browser):
        address, password = "shopper-german@user.com", self.superuser[1]
        self.register(address)
        page = browser.new_context(locale="de-CH").new_page()
        page.goto(self.request())
        page.get_by_label("E-Mail-Adresse").fill(address)
        page.get_by_label("Passwort").fill(password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Erlauben")).to_be_visible()
        self.look(page, "application-consent-german")
        self.without_its_script(page)
        page.goto(self.request(response_mode="form_post"))
        press(page, "button", "Erlauben")
        expect(page.get_by_role("heading", name="Weiter zur Anwendung")).to_be_visible()
        self.look(page, "application-form-german")
        for client, name in [
            ("ledger", "application-not-allowed-german"), ("archive", "application-not-verified-german"),
        ]:
            page.goto(self.request(client_id=client))
            expect(page.get_by_role("heading", name=f"Sie können The {client} nicht nutzen")).to_be_visible()
            self.look(page, name)
        page.goto(self.request(redirect_uri=APP_URL + "/other"))
        self.look(page, "application-refused-german")
        page.goto(self.url + "/account/apps")
        self.look(page, "account-apps-german")
