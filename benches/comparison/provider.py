"""The part `provider`: signing people in to applications, beside npm's oidc-provider."""

import base64
import hashlib
import json
import re
import urllib.parse

from .base import FORM, PASSWORD, SECRET, TOOLS, WORK, Failed, Process
from .base import ask, bearer, expected, many, request, say, summary
from .subjects import Subject, Tessera

REDIRECT = "https://app.example.com/callback"
API = "https://api.example.com"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
CONNECTIONS = 32

# The codes for one browser. People do not sign in to an application a thousand times in one session: Tessera keeps the
# latest 20 grants of a session for a client, and would end an older one with each further code.
CODES_OF_BROWSER = 15

# The operations in the order of the table, with their names there.
OPERATIONS = {
    "authorize": "authorize: a code for somebody who is signed in",
    "exchange": "exchange a code for an ID token, an access token and a refresh token",
    "userinfo": "userinfo",
    "client_credentials": "client_credentials: a JWT for an API",
}


def cookies_of(headers):
    """The cookies that an answer sets."""
    pairs = [cookie.split(";")[0].split("=", 1) for cookie in headers.get_all("Set-Cookie") or []]
    return dict(pairs)


def jar(cookies):
    return "; ".join(f"{name}={value}" for name, value in cookies.items() if value)


class Flow:
    """What both systems have: a client, a browser that is signed in, and the requests of an application."""

    authorize_path = token_path = userinfo_path = None
    client = "bench"
    client_secret = SECRET

    def sign_in_browsers(self, count):
        """Signs browsers in, each with a session of its own, and keeps their cookies."""
        self.prepare_application()
        self.cookies = many(self.sign_in_browser, range(count))

    def authorization(self):
        pair = base64.b64encode(f"{self.client}:{self.client_secret}".encode()).decode()
        return ("Authorization", f"Basic {pair}")

    def place(self):
        parameters = {
            "client_id": self.client, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid email",
            "state": "state-1", "nonce": "nonce-1", "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        }
        return f"{self.authorize_path}?{urllib.parse.urlencode(parameters)}"

    def prepare_application(self):
        pass

    def code(self, number=0):
        cookie = self.cookies[number % len(self.cookies)]
        headers, _ = expected(303, ask(self.address, "GET", self.place(), {"Cookie": cookie}))
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["Location"]).query)
        if "code" not in query:
            raise Failed(f"{self.name}: there is no code in {headers['Location']}")
        return query["code"][0]

    def exchange_form(self, code):
        form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return f"{urllib.parse.urlencode(form)}&code={code}"

    def tokens(self):
        headers = dict([FORM, self.authorization()])
        return json.loads(expected(200, ask(self.address, "POST", self.token_path, headers, self.exchange_form(self.code())))[1])

    def authorize_request(self, count):
        return request("GET", self.place(), [("Cookie", "{value}")], values=self.cookies[:CONNECTIONS], expect=[303])

    def exchange_request(self, count):
        codes = many(self.code, range(count))
        return request("POST", self.token_path, [FORM, self.authorization()], self.exchange_form("{value}"), codes, "once")

    def userinfo_request(self, count):
        return request("GET", self.userinfo_path, [bearer(self.tokens()["access_token"])])

    def client_credentials_form(self):
        return urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "jobs:run", "resource": API})

    def client_credentials_request(self, count):
        return request("POST", self.token_path, [FORM, self.authorization()], self.client_credentials_form())

    def sizes(self):
        """The length of each token, in bytes."""
        tokens = self.tokens()
        headers = dict([FORM, self.authorization()])
        own = json.loads(expected(200, ask(self.address, "POST", self.token_path, headers, self.client_credentials_form()))[1])
        kinds = {"ID token": tokens["id_token"], "access token": tokens["access_token"], "refresh token": tokens["refresh_token"]}
        kinds |= {"client's own access token": own["access_token"]}
        return {kind: len(token) for kind, token in kinds.items()}


class TesseraFlow(Flow, Tessera):
    authorize_path, token_path, userinfo_path = "/oauth2/authorize", "/oauth2/token", "/oauth2/userinfo"

    def environment(self, cost=4):
        # The hashes do not matter here, so they are cheap.
        return super().environment(4) | {"PUBLIC_URL": f"http://127.0.0.1:{self.port}", "COOKIE_SECURE": "false"}

    def prepare_application(self):
        self.command("resource", "create", API, "--scope", "jobs:run")
        made = self.command(
            "client", "create", self.client, "--redirect", REDIRECT, "--trusted", "--resource", API,
            "--scope", "openid,email,jobs:run", "--grant", "authorization_code,refresh_token,client_credentials",
            "--output", "json",
        )
        self.client_secret = json.loads(made)["client_secret"]

    def sign_in_browser(self, number):
        email = f"ada{number}@example.com"
        self.register(email)
        headers, page = expected(200, ask(self.address, "GET", "/login", {"Accept": "text/html"}))
        kept = cookies_of(headers)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.decode()).group(1)
        form = urllib.parse.urlencode({"email": email, "password": PASSWORD, "csrf": csrf})
        headers = dict([FORM, ("Accept", "text/html"), ("Cookie", jar(kept))])
        headers, _ = expected(303, ask(self.address, "POST", "/login", headers, form))
        return jar(kept | cookies_of(headers))


class OidcProvider(Flow, Subject):
    authorize_path, token_path, userinfo_path = "/auth", "/token", "/me"
    durability = "SQLite, WAL, synced at each commit"
    first_path = "/.well-known/openid-configuration"

    def launch(self, cost):
        environment = {"SECRET": SECRET, "DATABASE": WORK / f"{self.slug}.db", "PORT": self.port, "REDIRECT": REDIRECT}
        environment |= {"API": API, "NODE_ENV": "production"}
        self.process = Process(["node", TOOLS / "node/oidc-provider.mjs"], environment, log=self.slug)

    def sign_in_browser(self, number):
        """Follows the redirects of the first request, as a browser does, until the application would get its code."""
        kept, place = {}, self.place()
        for _ in range(8):
            answer, _ = expected(303, ask(self.address, "GET", place, {"Cookie": jar(kept)}))
            kept |= cookies_of(answer)
            place = answer["Location"].removeprefix(f"http://{self.address}")
            if place.startswith(REDIRECT):
                return jar(kept)
        raise Failed(f"{self.name}: the redirects lead to {place}")


def measure(run, load):
    """The rate, the latencies and the CPU time of each operation, and the size of each token."""
    form = run.form
    url = f"sqlite:///{WORK}/provider.db"
    systems = [
        TesseraFlow(run.binary, "Tessera, SQLite", url, "SQLite, WAL, synced at each commit"),
        OidcProvider("oidc-provider, SQLite"),
    ]
    codes = 200 if form.window < 0.5 else 1000 if form.short else 4000
    found, sizes = {}, {}
    for system in systems:
        system.start()
        system.sign_in_browsers(form.rounds * codes // CODES_OF_BROWSER + 1)
        sizes[system.name] = system.sizes()
    for turn in range(form.rounds):
        for system in systems:
            say(f"provider, round {turn + 1} of {form.rounds}: {system.name}")
            for operation in OPERATIONS:
                call = getattr(system, f"{operation}_request")(codes)
                figures = load(run.tool, [system.address], call, CONNECTIONS, form.window, cpu=system.cpu()).figures()
                if not figures["answered"]:
                    raise Failed(f"{system.name} answered no request of {operation}")
                found.setdefault(system.name, {}).setdefault(operation, []).append(figures)
    for system in systems:
        system.stop()
    return {
        "figures": {name: {one: summary(rounds) for one, rounds in kept.items()} for name, kept in found.items()},
        "sizes": sizes,
    }
