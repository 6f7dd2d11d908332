"""The parts of a run. Each returns what `report.py` writes."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
import uuid

from .base import COST, TOOLS, WORK, Failed, Load, ask, bearer, expected, memory
from .base import printed_address, request, say, summary
from . import provider as signing_in
from .subjects import OPERATIONS, BetterAuth, Django, FastapiUsers, Fastify, Subject, Tessera

# The reads a second beside sign-ins.
PROBE_RATE = 200
SYNCED = "synced at each commit"
CORES = os.cpu_count() or 1


class Form:
    """How much a run measures."""

    def __init__(self, short, tiny=False, many=None):
        short = short or tiny
        self.short = short
        self.rounds = 1 if short else 3
        self.window = 0.8 if short else 2.0
        self.connections = [1, 32] if short else [1, 32, 256]
        self.hash_window = 3.0 if short else 4.0
        self.users = 1000
        self.many = 100_000 if short else 1_000_000
        self.probe = 3.0 if short else 8.0
        # The time to prepare users, and again to prepare sessions.
        self.preparing = 3.0 if short else 10.0
        Subject.kept = 40 if short else 256
        Subject.signed_out_at_once = 1000 if short else 300
        self.trial = 2 if short else 4
        if tiny:
            self.window, self.hash_window, self.probe, self.users, self.many = 0.3, 0.3, 1.0, 50, 2000
        self.many = many or self.many


class Run:
    def __init__(self, form, tool, binary, postgres):
        self.form, self.tool, self.binary, self.postgres = form, tool, binary, postgres

    def load(self, subject, operation, connections, **more):
        call = subject.call(operation, connections)
        if operation in ("login", "register"):
            more = {"window": self.form.hash_window, "drain": True, "pause": 2.0} | more
        more = {"window": self.form.window, "cpu": subject.cpu()} | more
        return Load(self.tool, [subject.address], call, connections, **more)


def subjects(run):
    """Tessera and the peers, in the order of the tables."""
    database = run.postgres.process.pid
    url = run.postgres.create
    file = lambda name: f"sqlite:///{WORK}/{name}.db"
    peer = lambda name: f"sqlite+aiosqlite:///{WORK}/{name}.db"
    asyncpg = lambda name: url(name).replace("postgres:", "postgresql+asyncpg:")
    rollback = f"SQLite, rollback journal, {SYNCED}"
    wal, pg = f"SQLite, WAL, {SYNCED}", f"PostgreSQL, {SYNCED}"
    workers = lambda count: f"{count} worker" + "s" * (count > 1)
    found = [
        Tessera(run.binary, "Tessera, SQLite", file("tessera"), wal),
        Tessera(run.binary, "Tessera, PostgreSQL", url("tessera"), pg, database),
        Fastify("Fastify, SQLite", "full", wal),
        Fastify("Fastify, SQLite, not synced", "normal", "SQLite, WAL, commits not synced"),
    ]
    for count in (1, 2):
        name = f"FastAPI Users, SQLite, {workers(count)}"
        found.append(FastapiUsers(name, peer(f"fastapi{count}"), count, rollback))
    for count in (1, 2):
        name = f"FastAPI Users, PostgreSQL, {workers(count)}"
        found.append(FastapiUsers(name, asyncpg(f"fastapi{count}"), count, pg, database))
    found.append(Django("Django REST, Simple JWT, SQLite", 2, wal))
    found.append(BetterAuth("better-auth, SQLite", "full", wal))
    return found


def versions(run):
    """The versions of everything that was measured."""
    output = lambda *words: subprocess.run(words, capture_output=True, text=True).stdout.strip()
    tessera = output(run.binary, "--version")
    python = output(str(TOOLS / "python/bin/python"), "--version")
    packages = {}
    for line in (TOOLS / "python/installed").read_text().splitlines():
        if match := re.match(r"([\w-]+)(?:\[\w+\])?==(\S+)", line):
            packages[match.group(1)] = match.group(2)
    wanted = json.loads((TOOLS / "node/package.json").read_text())["dependencies"]
    return {
        "programs": [tessera, f"PostgreSQL {run.postgres.version}", python, f"Node {output('node', '--version')}"],
        "peers": packages | wanted,
    }


def commits_of_sqlite(seconds=1.0):
    """One row, one synced commit, one connection."""
    file = WORK / "commit.db"
    file.unlink(missing_ok=True)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    connection.execute("create table t (id integer primary key, text text)")
    began, done = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        connection.execute("insert into t (text) values ('0123456789012345678901234567890123456789')")
        done += 1
    connection.close()
    return done / (time.monotonic() - began)


def limits(run, body):
    """What no service can pass here: a bare endpoint, the bare hash, one synced commit."""
    say("limits")
    process, address = printed_address([run.tool, "bare", body])
    answer = ask(address, "GET", "/users/me")[2]
    # The members of the two answers can have another order.
    if json.loads(answer) != json.loads(body) or len(answer) != len(body.encode()):
        raise Failed("the bare endpoint does not answer the bytes of /users/me")
    bare = {}
    for connections in run.form.connections:
        call = request("GET", "/users/me")
        rounds = []
        for _ in range(run.form.rounds):
            load = Load(run.tool, [address], call, connections, run.form.window, cpu={"server": [process.pid]})
            rounds.append(load.figures())
        bare[str(connections)] = summary(rounds)
    used = memory([process.pid])
    process.stop()
    rounds = []
    for _ in range(run.form.rounds):
        hashed = [run.tool, "hash", str(COST), str(run.form.hash_window), str(CORES)]
        figures = json.loads(subprocess.run(hashed, capture_output=True, text=True, check=True).stdout)
        answered = figures["answered"]
        figures |= {"rate": answered / figures["seconds"], "refused": 0}
        figures["cpu"] = {"server": figures["cpu"]["server"] * 1e6 / answered}
        rounds.append(figures)
    run.postgres.create("commits")
    run.postgres.sql("create table t (id bigserial primary key, text text)", "commits")
    insert = "insert into t (text) values ('0123456789012345678901234567890123456789');"
    return {
        "bare": bare,
        "bare_memory": used,
        "bcrypt": summary(rounds),
        "commit_sqlite": commits_of_sqlite(),
        "commit_postgres": run.postgres.pgbench(insert, 1, 1, database="commits"),
        "commit_postgres_32": run.postgres.pgbench(insert, 32, 1, database="commits"),
    }


def is_measured(form, subject, operation, connections):
    """The short form leaves out hashes of peers on one connection, and with few connections those of Tessera."""
    if operation in ("login", "register") and form.short:
        return connections == 32 and (operation == "login" or isinstance(subject, Tessera))
    return subject.has(operation)


def operations(run, measured):
    """Every operation of every system, each measured once in every round."""
    form = run.form
    rounds, failures, memories = {}, {}, {}
    for turn in range(form.rounds):
        for subject in measured:
            say(f"operations, round {turn + 1} of {form.rounds}: {subject.name}")
            for operation in OPERATIONS:
                for connections in form.connections:
                    if not is_measured(form, subject, operation, connections):
                        continue
                    place = (subject.name, operation, str(connections))
                    try:
                        figures = run.load(subject, operation, connections).figures()
                        if not figures["answered"]:
                            raise Failed(f"{subject.name} answered no request of {operation}")
                    except Failed as error:
                        failures[f"{subject.name}, {operation}, {connections}"] = str(error)
                        say(f"FAILED: {error}")
                        continue
                    if operation == "refresh":
                        keep_rotated(subject, figures["values"])
                    rounds.setdefault(place, []).append(figures)
            memories.setdefault(subject.name, []).append(subject.memory())
    found = {}
    for (name, operation, connections), figures in rounds.items():
        found.setdefault(name, {}).setdefault(operation, {})[connections] = summary(figures)
    facts = {
        subject.name: {
            "hash": subject.hash,
            "durability": subject.durability,
            "idle": subject.idle,
            "loaded": max(memories[subject.name]),
            "start": subject.started_in,
        }
        for subject in measured
    }
    return {"figures": found, "facts": facts, "failures": failures}


def keep_rotated(subject, values):
    """Keeps the refresh tokens that a load left. The old ones would end their sessions."""
    for number, value in enumerate(values):
        if value and number < len(subject.refreshes):
            subject.refreshes[number] = value


def is_isolated(form, subject):
    """The short form probes Tessera and two peers beside sign-ins."""
    if "not synced" in subject.name or "1 worker" in subject.name:
        return False
    return not form.short or not isinstance(subject, (Django, BetterAuth)) and "FastAPI Users, SQLite" not in subject.name


def isolation(run, measured):
    """The latency of a cheap read beside sign-ins and beside refusals."""
    form = run.form
    bare, bare_address = printed_address([run.tool, "bare", "{}"])
    found = []
    for subject in measured:
        say(f"isolation: {subject.name}")
        probe = subject.call("me", 16)
        kinds = [("no other load", 0, None), ("32 sign-ins at once", 32, 2.0)]
        if isinstance(subject, Tessera):
            kinds.append(("flood of refusals: 256 sign-ins that retry at once", 256, 0))
        for name, connections, pause in kinds:
            flood = None
            if connections:
                flood = run.load(subject, "login", connections, window=form.probe + 3, drain=False, pause=pause)
                time.sleep(1.5)
            loads = [
                Load(run.tool, [address], call, 16, form.probe, rate=PROBE_RATE)
                for address, call in ((subject.address, probe), (bare_address, request("GET", "/users/me")))
            ]
            row = {"subject": subject.name, "load": name}
            row["me"], row["bare"] = [load.figures() for load in loads]
            if flood:
                try:
                    figures = flood.figures()
                    row["answered"], row["refused"] = figures["rate"], figures["refused"] / figures["seconds"]
                except Failed as error:
                    row["failure"] = str(error)
            found.append(row)
    bare.stop()
    return found


def fill_sqlite(file, count):
    """Adds users and revocations to the database of a server that is stopped."""
    connection = sqlite3.connect(file)
    until, at = connection.execute("select until, at from revocation where kind = 'sid' limit 1").fetchone()
    hashed = connection.execute('select hashed_password from "user" limit 1').fetchone()[0]
    people = ((str(uuid.uuid4()), f"more{n}@example.com", hashed) for n in range(count))
    connection.executemany('insert into "user" values (?, ?, ?, 1, 0, 1)', people)
    first = connection.execute("select coalesce(max(seq), 0) + 1 from revocation").fetchone()[0]
    # Longer than the run takes.
    rows = ((first + n, str(uuid.uuid4()), until + 86400, at) for n in range(count))
    insert = "insert into revocation (seq, kind, subject, until, why, at) values (?, 'sid', ?, ?, 'logout', ?)"
    connection.executemany(insert, rows)
    connection.commit()
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()


def fill_postgres(postgres, database, count):
    people = f"""insert into "user" select gen_random_uuid()::text, 'more' || n || '@example.com', hashed_password,
        true, false, true from generate_series(1, {count}) n, (select hashed_password from "user" limit 1) one"""
    rows = f"""insert into revocation (seq, kind, subject, until, why, at)
        select first + n, 'sid', gen_random_uuid()::text, until + 86400, 'logout', at from generate_series(1, {count}) n,
        (select until, at from revocation where kind = 'sid' limit 1) one,
        (select max(seq) as first from revocation) other"""
    for statement in (people, rows, "analyze"):
        postgres.sql(statement, database)


def growth(run):
    """The same figures with few and with many users and revocations."""
    found = []
    database = run.postgres.process.pid
    for kind in ("SQLite", "PostgreSQL"):
        name = f"growth{kind.lower()}"
        file = WORK / f"{name}.db"
        url = f"sqlite:///{file}" if kind == "SQLite" else run.postgres.create(name)
        subject = Tessera(run.binary, f"Tessera {kind} growth", url, "", database if kind != "SQLite" else None)
        subject.prepare(run.form.users, run.form.preparing)
        for users in (run.form.users, run.form.many):
            say(f"growth: {kind}, {users:,} users and revocations")
            if users > run.form.users:
                if kind == "SQLite":
                    fill_sqlite(file, users)
                else:
                    fill_postgres(run.postgres, name, users)
            # Until the first answer that needs the revocations.
            began = time.monotonic()
            subject.start()
            token = subject.access[0]
            while ask(subject.address, "GET", "/users/me", dict([bearer(token)]))[0] != 200:
                time.sleep(0.005)
            # At least one revocation, as a pattern for many.
            expected(204, ask(subject.address, "POST", "/auth/jwt/logout", dict([bearer(subject.access.pop())]), ""))
            row = {"kind": kind, "users": users, "start": time.monotonic() - began, "memory": subject.memory()}
            for operation in ("me", "api_token", "refresh", "logout"):
                figures = run.load(subject, operation, 32).figures()
                if operation == "refresh":
                    keep_rotated(subject, figures["values"])
                row[operation] = summary([figures])
            row["memory_loaded"] = subject.memory()
            found.append(row)
            subject.stop()
    return found


DELAYS = (0, 2.5, 10)


def replicas(run):
    """One, two and three replicas, with the database at three distances. The hashes are cheap, so that they are not the
    limit."""
    form, found = run.form, []
    database = run.postgres.process.pid
    base = Tessera(run.binary, "replicas", run.postgres.create("replicas"), "", database)
    base.kept, base.signed_out_at_once = 96, 350
    base.wanted_sessions = 11 * base.signed_out_at_once + base.kept
    base.prepare(run.form.users, seconds=30)
    for delay in (None, *DELAYS):
        address, proxy = run.postgres.address, None
        if delay is not None:
            proxy, address = printed_address([run.tool, "delay", run.postgres.address, str(delay)])
        for count in (1, 2, 3) if delay is not None else (1,):
            say(f"replicas: {count}, the database {'without the proxy' if delay is None else f'{delay} ms away'}")
            servers = []
            for number in range(count):
                url = run.postgres.url("replicas", address)
                server = Tessera(run.binary, f"replica{number}", url, "", database, TESSERA_DEV="true", BCRYPT_COST=4)
                server.start()
                servers.append(server)
            addresses = [server.address for server in servers]
            cpu = {"server": [server.process.pid for server in servers], "database": [database]}
            row = {"delay": delay, "replicas": count}
            base.signers = [f"user{number}@example.com" for number in range(min(base.registered, 500))]
            for operation in ("login", "refresh", "logout"):
                call = base.call(operation, 96)
                load = Load(run.tool, addresses, call, 96, max(form.window, 1.0), cpu=cpu)
                figures = load.figures()
                if operation == "refresh":
                    keep_rotated(base, figures["values"])
                row[operation] = summary([figures])
            row["memory"] = [server.memory() for server in servers]
            found.append(row)
            for server in servers:
                server.stop()
        if proxy:
            proxy.stop()
    return found


def pool(run):
    """How many connections the database itself can use: an update of one row of its own in each transaction."""
    say("pool size")
    run.postgres.create("pool")
    run.postgres.sql("create table t as select n as id, 0 as n from generate_series(1, 10000) n", "pool")
    run.postgres.sql("alter table t add primary key (id)", "pool")
    script = "\\set id random(1, 10000)\nupdate t set n = n + 1 where id = :id;"
    found = []
    for delay in DELAYS:
        proxy, address = printed_address([run.tool, "delay", run.postgres.address, str(delay)])
        row = {"delay": delay, "rates": {}}
        for clients in (8, 16, 32, 64):
            row["rates"][str(clients)] = run.postgres.pgbench(script, clients, run.form.trial, address, "pool")
        proxy.stop()
        found.append(row)
    return found


def clean():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)


def body_of_me(subject):
    return expected(200, ask(subject.address, "GET", "/users/me", dict([bearer(subject.access[0])])))[1].decode()


def provider(run):
    """Signing people in to applications, beside npm's oidc-provider."""
    return signing_in.measure(run, Load)
