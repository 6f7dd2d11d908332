"""Tessera and its peers: how each starts, and how it is asked for each operation."""

import json
import re
import subprocess
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from .base import COST, FORM, JSON, PASSWORD, PEERS, PREPARING, SECRET, TOOLS, WORK, Failed, Process
from .base import ask, bearer, expected, free_port, many, memory, request

# The operations in the order of the tables, with their names there.
OPERATIONS = {
    "me": "`GET /users/me`, access token",
    "api_token": "`GET /users/me`, API token",
    "introspect": "introspect a token",
    "page": "sign-in page",
    "refresh": "refresh",
    "logout": "sign out",
    "login": "sign in",
    "register": "register",
}

# The accounts with hashes of the measured cost.
SIGNERS = 8

# The answers of peers to sign-ins and registrations that wait too long for a connection to the database.
BUSY = [500, 503]


def json_call(path, body, **more):
    return request("POST", path, [JSON], json.dumps(body), **more)


class Subject:
    """A system under measurement. It is prepared with cheap hashes, and then starts with the measured ones."""

    database_process = None
    hash = f"bcrypt, cost {COST}"
    # The sessions that are never signed out, one for each connection of other loads.
    kept = 256
    signed_out_at_once = 300
    wanted_sessions = 856

    def __init__(self, name):
        self.name = name
        self.slug = re.sub(r"\W+", "-", name.lower()).strip("-")
        self.process = None
        self.port = free_port()
        self.registered = 0
        self.access, self.refreshes = [], []

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self, cost=COST):
        began = time.monotonic()
        self.launch(cost)
        self.process.awaited(self.port)
        while True:
            try:
                ask(self.address, "GET", self.first_path)
                break
            except OSError:
                time.sleep(0.005)
        return time.monotonic() - began

    first_path = "/users/me"

    def stop(self):
        if self.process:
            self.process.stop()
            self.process = None

    def cpu(self):
        processes = {"server": [self.process.pid]}
        if self.database_process:
            processes["database"] = [self.database_process]
        return processes

    def memory(self):
        return memory([self.process.pid])

    def emails(self, count):
        """Addresses that were not used before."""
        first = self.registered
        self.registered += count
        return [f"user{number}@example.com" for number in range(first, self.registered)]

    def register(self, email):
        call = self.register_call([email])
        body = call["body"].replace("{value}", email)
        return expected(call["expect"][0], ask(self.address, "POST", call["path"], dict(call["headers"]), body))

    def sign_in(self, email):
        call = self.login_call([email])
        body = call["body"].replace("{value}", urllib.parse.quote(email) if FORM in map(tuple, call["headers"]) else email)
        return expected(call["expect"][0], ask(self.address, "POST", call["path"], dict(call["headers"]), body))

    def note(self, headers, body):
        """Notes the tokens of a sign-in."""
        body = json.loads(body)
        self.access.append(body["access_token"])
        if "refresh_token" in body:
            self.refreshes.append(body["refresh_token"])

    def prepare(self, users, seconds):
        """Makes users and sessions with cheap hashes, until there are enough or the time is over."""
        self.start(PREPARING)
        end = time.monotonic() + seconds
        # The first request alone: some servers set themselves up in it.
        emails = self.emails(users)
        self.register(emails[0])
        made = [emails[0]] + many(lambda email: time.monotonic() < end and (self.register(email), email)[1], emails[1:])
        made = [email for email in made if email]
        end = time.monotonic() + seconds
        wanted = (made * (self.wanted_sessions // len(made) + 1))[: self.wanted_sessions]
        for answer in many(lambda email: time.monotonic() < end and self.sign_in(email), wanted):
            if answer:
                self.note(*answer)
        self.prepare_more(made)
        self.stop()

    def prepare_more(self, emails):
        pass

    def go(self):
        """Starts with the measured hashes, and makes the accounts that sign in."""
        self.started_in = self.start()
        self.idle = self.memory()
        self.signers = self.emails(SIGNERS)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.register, self.signers))

    def taken(self, tokens, count):
        """Takes tokens that are used up. Those of the first sessions stay, because other loads use them.

        A slow machine prepares fewer sessions than wanted. So a load takes at most half of those that are left, and the
        next one has some too.
        """
        spare = len(tokens) - self.kept
        if spare < 1:
            raise Failed(f"{self.name} has no session left that may end: prepare more of them")
        kept = len(tokens) - min(count, (spare + 1) // 2)
        taken = tokens[kept:]
        del tokens[kept:]
        return taken

    def has(self, operation):
        return getattr(self, f"{operation}_request", None) is not None

    def call(self, operation, connections):
        """The request of an operation, or None if the system does not have it."""
        return getattr(self, f"{operation}_request")(connections)

    def me_request(self, connections):
        return request("GET", "/users/me", [bearer()], values=self.access[:connections])

    def login_request(self, connections):
        return self.login_call(self.signers)

    def register_request(self, connections):
        return self.register_call(self.emails(4000)) | {"mode": "once"}


class Tessera(Subject):
    first_path = "/health/live"
    wanted_sessions = 3000

    def __init__(self, binary, name, url, durability, database_process=None, **settings):
        super().__init__(name)
        self.binary, self.url, self.durability = binary, url, durability
        self.database_process = database_process
        self.settings = settings

    def environment(self, cost=COST):
        return {
            "ACCESS_TOKEN_EXPIRES": 86400,
            "APP_SECRET": SECRET,
            "BCRYPT_COST": cost,
            "DATABASE_URL": self.url,
            "LOG_FORMAT": "json",
            "PORT": self.port,
            # In development it follows the port. Tokens must stay valid when the server starts with other settings.
            "PUBLIC_URL": "http://localhost:8000",
            "RATE_LIMIT": "false",
            "REPLICA_NAME": self.slug,
            "RUST_LOG": "warn",
            # Cheap hashes are allowed only in development.
            "TESSERA_DEV": "false" if cost >= 10 else "true",
        } | self.settings

    def launch(self, cost):
        self.process = Process([self.binary, "serve"], self.environment(cost), log=self.slug)

    def command(self, *words, say=None):
        environment = {name: str(value) for name, value in self.environment(PREPARING).items()}
        done = subprocess.run(
            [self.binary, *words], env=environment | {"HOME": str(WORK)}, cwd=WORK, input=say, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"tessera {words}: {done.stderr}")
        return done.stdout

    def register_call(self, emails):
        body = {"email": "{value}", "password": PASSWORD}
        return json_call("/auth/register", body, values=emails, expect=[201], refused=[503])

    def login_call(self, emails):
        body = f"username={{value}}&password={urllib.parse.quote(PASSWORD)}"
        return request("POST", "/auth/jwt/login", [FORM], body, values=emails, refused=[503])

    def prepare_more(self, emails):
        admin = "admin@example.com"
        self.command("user", "create", "--superuser", admin, say=f"{PASSWORD}\n")
        token = json.loads(self.sign_in(admin)[1])["access_token"]
        headers = dict([JSON, bearer(token)])
        make = lambda path, body: expected(201, ask(self.address, "POST", path, headers, json.dumps(body)))[1]
        make("/admin/services", {"name": "bench", "scopes": ["tokens:introspect"]})
        self.service = json.loads(make("/auth/tokens", {"username": "bench"}))["token"]
        headers = dict([JSON, bearer(self.access[0])])
        self.api_token = json.loads(make("/auth/tokens", {}))["token"]

    def api_token_request(self, connections):
        return request("GET", "/users/me", [bearer(self.api_token)])

    def introspect_request(self, connections):
        return request("POST", "/auth/introspect", [FORM, bearer(self.service)], "token={value}", self.access[:connections])

    def page_request(self, connections):
        return request("GET", "/login", [("Accept", "text/html")])

    def refresh_request(self, connections):
        path = "/auth/jwt/refresh"
        return request("POST", path, [bearer()], "", self.refreshes[:connections], "rotate", "refresh_token")

    def logout_request(self, connections):
        return request("POST", "/auth/jwt/logout", [bearer()], "", self.taken(self.access, self.signed_out_at_once), "once", expect=[204])


class FastapiUsers(Subject):
    def __init__(self, name, url, workers, durability, database_process=None):
        super().__init__(name)
        self.url, self.workers, self.durability = url, workers, durability
        self.database_process = database_process

    def launch(self, cost):
        # One worker makes the tables, so that two do not collide.
        workers = 1 if cost == PREPARING else self.workers
        command = [TOOLS / "python/bin/uvicorn", "app:app", "--port", self.port, "--workers", workers]
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        command += ["--app-dir", PEERS / "fastapi-users"]
        environment = {"SECRET": SECRET, "DATABASE": self.url, "BCRYPT_COST": cost, "PYTHONDONTWRITEBYTECODE": 1}
        self.process = Process(command, environment, log=self.slug)

    def register_call(self, emails):
        return json_call("/auth/register", {"email": "{value}", "password": PASSWORD}, values=emails, expect=[201], refused=BUSY)

    def login_call(self, emails):
        body = f"username={{value}}&password={urllib.parse.quote(PASSWORD)}"
        return request("POST", "/auth/jwt/login", [FORM], body, values=emails, refused=BUSY)


class Fastify(FastapiUsers):
    wanted_sessions = 3000

    def __init__(self, name, synchronous, durability):
        Subject.__init__(self, name)
        self.synchronous, self.durability = synchronous, durability

    def launch(self, cost):
        environment = {"SECRET": SECRET, "DATABASE": WORK / f"{self.slug}.db", "BCRYPT_COST": cost, "PORT": self.port}
        environment |= {"SYNCHRONOUS": self.synchronous, "NODE_ENV": "production"}
        self.process = Process(["node", TOOLS / f"node/{self.program}.mjs"], environment, log=self.slug)

    program = "fastify"
    refresh_request = Tessera.refresh_request
    logout_request = Tessera.logout_request
    introspect_request = Tessera.introspect_request
    api_token_request = Tessera.api_token_request

    def prepare_more(self, emails):
        headers = dict([JSON, bearer(self.access[0])])
        made = expected(201, ask(self.address, "POST", "/auth/api-tokens", headers, "{}"))[1]
        self.api_token = self.service = json.loads(made)["token"]


class BetterAuth(Fastify):
    program = "better-auth"
    # The sessions that are never signed out, one for each connection of other loads.
    kept = 256
    signed_out_at_once = 300
    wanted_sessions = 856
    first_path = "/api/auth/ok"
    hash = f"bcrypt, cost {COST} (its default is scrypt)"
    refresh_request = introspect_request = api_token_request = None

    def prepare_more(self, emails):
        pass

    def register_call(self, emails):
        body = {"email": "{value}", "password": PASSWORD, "name": "User"}
        return json_call("/api/auth/sign-up/email", body, values=emails, refused=BUSY)

    def login_call(self, emails):
        return json_call("/api/auth/sign-in/email", {"email": "{value}", "password": PASSWORD}, values=emails, refused=BUSY)

    def note(self, headers, body):
        self.access.append(headers["Set-Cookie"].split(";")[0])

    def me_request(self, connections):
        return request("GET", "/api/auth/get-session", [("Cookie", "{value}")], values=self.access[:connections])

    def logout_request(self, connections):
        headers = [JSON, ("Cookie", "{value}"), ("Origin", f"http://{self.address}")]
        return request("POST", "/api/auth/sign-out", headers, "{}", self.taken(self.access, 100), "once")


class Django(Subject):
    # The sessions that are never signed out, one for each connection of other loads.
    kept = 256
    signed_out_at_once = 300
    wanted_sessions = 856

    def __init__(self, name, workers, durability):
        super().__init__(name)
        self.workers, self.durability = workers, durability

    def launch(self, cost):
        folder = PEERS / "django-simple-jwt"
        environment = {"SECRET": SECRET, "DATABASE": WORK / f"{self.slug}.db", "BCRYPT_COST": cost, "SYNCHRONOUS": "full"}
        environment |= {"PYTHONDONTWRITEBYTECODE": 1, "PYTHONPATH": folder}
        python = TOOLS / "python/bin"
        if cost == PREPARING:
            made = Process([python / "python", folder / "app.py"], environment, log=self.slug)
            if made.child.wait(60) != 0:
                raise RuntimeError(made.said())
            made.stop()
        command = [python / "gunicorn", "app:application", "--bind", self.address, "--workers", self.workers]
        command += ["--threads", "8", "--worker-class", "gthread", "--keep-alive", "60", "--log-level", "warning"]
        self.process = Process(command, environment, log=self.slug)

    def register_call(self, emails):
        return json_call("/auth/register", {"email": "{value}", "password": PASSWORD}, values=emails, expect=[201], refused=BUSY)

    def login_call(self, emails):
        return json_call("/auth/login", {"username": "{value}", "password": PASSWORD}, values=emails, refused=BUSY)

    def note(self, headers, body):
        body = json.loads(body)
        self.access.append(body["access"])
        self.refreshes.append(body["refresh"])

    def refresh_request(self, connections):
        values = self.refreshes[:connections]
        return json_call("/auth/refresh", {"refresh": "{value}"}, values=values, mode="rotate", field="refresh")

    def logout_request(self, connections):
        values = self.taken(self.refreshes, 100)
        return json_call("/auth/logout", {"refresh": "{value}"}, values=values, mode="once")

    def introspect_request(self, connections):
        return json_call("/auth/verify", {"token": "{value}"}, values=self.access[:connections])
