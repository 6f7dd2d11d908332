"""Writes docs/performance.md and its charts from the results of a run."""

import shutil

from . import plot
from . import provider as signing_in
from .base import ROOT, say
from .subjects import OPERATIONS

DOCS = ROOT / "docs"
PICTURES = DOCS / "performance"
#: The figures of another benchmark, `cargo bench --bench feed`.
FEED = ROOT / "benches" / "feed" / "figures.md"


def figure(value, digits=None):
    if value is None:
        return "–"
    if digits is not None:
        return f"{value:.{digits}f}"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(value, base):
    return "–" if not value or not base else f"{figure(value / base)} ×"


def table(head, rows):
    """A table whose first column is text."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def sections(results):
    yield beginning(results)
    yield reading(results)
    if "limits" in results and "operations" in results:
        yield against_limits(results)
    if "operations" in results:
        yield against_peers(results)
    for part, writes in (
        ("isolation", isolation), ("replicas", replicas), ("pool", pool), ("growth", growth), ("provider", provider),
    ):
        if part in results:
            yield writes(results)
    yield FEED.read_text()
    if results.get("failures"):
        rows = [[part, error.replace("|", "/").replace("\n", " ")[:200]] for part, error in results["failures"].items()]
        yield "## Parts that ended with an error\n\n" + table(["part", "error"], rows)
    if "operations" in results:
        yield every_figure(results)
    yield systems(results)


def beginning(results):
    machine, versions = results["machine"], results["versions"]
    binary = "a binary that was built before" if results["given"] else f"the profile `{results['profile']}`"
    return f"""# Performance

After reading this page you know how fast Tessera is compared with what no service can pass on the same machine, and
with other programs for the same purpose. `benches/compare` wrote this page from one run. Do not edit it.

| | |
|---|---|
| date | {results['date']} |
| form | {results['form']}, {results['seconds'] / 60:.0f} minutes |
| commit of Tessera | `{results['commit']}` ({binary}) |
| machine | {machine['cores']} cores of {machine['processor']}, {machine['memory']:.0f} GiB, Linux {machine['kernel']} |
| load before the run | {machine['load']:.2f} |
| programs | {', '.join(versions['programs'])} |
| peers | {', '.join(f'{name} {version}' for name, version in versions['peers'].items())} |"""


def reading(results):
    rounds = "one round" if results["form"] == "short" else "the median of three rounds"
    return f"""## How to read this page

* **Compare ratios, not absolute numbers.** The load generator, the servers and PostgreSQL share the cores. All figures
  of this page are from one run, so noise of the machine concerns all of them. Each figure is {rounds}. A difference
  below a quarter can be noise.
* **CPU** is the user and system time of the server's processes, in milliseconds for 1,000 requests. It varies less than
  the rate. PostgreSQL's CPU has a column of its own.
* **rate** is the number of answers a second. The load generator has one thread, which can be the limit of cheap
  requests. It checks the status of each answer.
* **p50, p99**: half of the requests, or 99 % of them, took at most this long, in milliseconds.
* **Hashes:** every system hashes passwords with bcrypt at cost 12. Otherwise a sign-in would compare only the hashes.
* **refused**: sign-ins and registrations that got 503, or 500 from a peer that did not get a connection to its database
  in time.
* **Durability:** unless a name says *not synced*, a write is on the disk before it is acknowledged.
* **–** means that a system does not have the operation, or that this form of the run does not measure it. FastAPI Users
  with JWTs and better-auth have no refresh token, and a sign-out of FastAPI Users' JWT strategy revokes nothing."""


def at(results, name, operation, connections):
    figures = results["operations"]["figures"].get(name, {}).get(operation, {})
    return figures.get(str(connections))


def cpu(figures, name="server"):
    return figures["cpu"].get(name) if figures else None


def ours(results):
    return [name for name in results["operations"]["figures"] if name.startswith("Tessera")]


def against_limits(results):
    limits, rows = results["limits"], []
    bare, hashes = limits["bare"]["32"], limits["bcrypt"]
    chart = [("bare poem-openapi", cpu(bare), plot.LIMIT)]
    for name in ours(results):
        me = at(results, name, "me", 32)
        if me:
            chart.append((name, cpu(me), plot.OURS))
            rows.append([f"`/users/me`, {name}", "bare endpoint", ratio(cpu(me), cpu(bare)), ratio(me["rate"], bare["rate"])])
        login = at(results, name, "login", 32)
        if login:
            rows.append([f"sign in, {name}", "bare bcrypt", ratio(cpu(login), cpu(hashes)), ratio(login["rate"], hashes["rate"])])
        refresh, kind = at(results, name, "refresh", 32), "postgres" if "Postgre" in name else "sqlite"
        if refresh:
            commits = limits[f"commit_{kind}"]
            rows.append([f"refresh, {name}", "one synced commit", "–", ratio(refresh["rate"], commits)])
    plot.bars(PICTURES / "limit.svg", "CPU of GET /users/me", chart, "milliseconds for 1,000 requests; less is better")
    return f"""## Compared with the limits

*Bare endpoint* is poem-openapi with one operation that answers the same bytes as `/users/me`, and no check of a token.
*Bare bcrypt* is the hash on every core, and nothing else. *One synced commit* is one row on one connection, with one
commit after another: {figure(limits['commit_sqlite'])}/s on SQLite and {figure(limits['commit_postgres'])}/s on
PostgreSQL ({figure(limits['commit_postgres_32'])}/s with 32 connections). Refreshes that wait share a commit.

{table(['operation, 32 connections', 'limit', 'CPU, of the limit', 'rate, of the limit'], rows)}

![CPU of a read, compared with a bare endpoint](performance/limit.svg)"""


def against_peers(results):
    names = list(results["operations"]["figures"])
    base = names[0]
    rows = []
    for operation, title in OPERATIONS.items():
        our = at(results, base, operation, 32)
        row = [title, f"{figure(cpu(our))} ms" if our else "–"]
        rows.append(row + [ratio(cpu(at(results, name, operation, 32)), cpu(our)) for name in names[1:]])
        chart = []
        for name in names:
            colour = plot.OURS if name.startswith("Tessera") else plot.THEIRS
            chart.append((name, cpu(at(results, name, operation, 32)), colour))
        plot.bars(PICTURES / f"{operation}.svg", f"CPU: {title.replace('`', '')}", chart,
                  "milliseconds of the server for 1,000 requests, without PostgreSQL; less is better")
    pictures = "\n".join(
        f"![CPU: {OPERATIONS[operation].replace('`', '')}](performance/{operation}.svg)\n"
        for operation in ("me", "refresh", "login") if (PICTURES / f"{operation}.svg").exists()
    )
    rates = []
    for operation, title in OPERATIONS.items():
        our = at(results, base, operation, 32)
        row = [title, f"{figure(our['rate'])}/s" if our else "–"]
        for name in names[1:]:
            other = at(results, name, operation, 32)
            row.append(ratio(other["rate"], our["rate"]) if other and our else "–")
        rates.append(row)
    head = ["operation, 32 connections", *names]
    return f"""## Compared with peers

CPU time of the server for a request, as a multiple of *{base}*. Above 1 means that the other system needs more.
PostgreSQL's own CPU time is not in it (see [Every figure](#every-figure)).

{table(head, rows)}

{pictures}
Rate, as a multiple of *{base}*. Below 1 means that the other system answers fewer requests.

{table(head, rates)}"""


def isolation(results):
    rows, quiet = [], {}
    for row in results["isolation"]:
        me, bare = row["me"], row["bare"]
        if not row.get("answered") and row["load"] == "no other load":
            quiet[row["subject"]] = me["p99"]
        rows.append([
            row["subject"], row["load"], figure(me["p50"]), figure(me["p99"]), ratio(me["p99"], quiet.get(row["subject"])),
            figure(bare["p99"]), row.get("failure", "") or figure(row.get("answered")), figure(row.get("refused")),
        ])
    head = ["system", "other load", "p50 ms", "p99 ms", "p99, of quiet", "bare p99 ms", "sign-ins/s", "refusals/s"]
    return f"""## A read beside sign-ins

200 reads of `/users/me` a second, while other clients sign in. A latency counts from the time at which the request was
due. A bare endpoint gets as many requests at the same time. It has no sign-ins, so its p99 shows how the load on the
cores delays any server.

{table(head, rows)}"""


def distance(delay):
    return "without the proxy" if delay is None else f"{delay:g} ms"


def replicas(results):
    rows, chart, one = [], [], {}
    for row in results["replicas"]:
        if row["replicas"] == 1:
            one[row["delay"]] = row
        base = one[row["delay"]]
        line = [distance(row["delay"]), row["replicas"]]
        for operation in ("login", "refresh", "logout"):
            line += [figure(row[operation]["rate"]), ratio(row[operation]["rate"], base[operation]["rate"])]
        line.append(sum(row[operation]["refused"] for operation in ("login", "refresh", "logout")))
        rows.append(line)
        if row["delay"] is not None:
            label = f"{row['delay']:g} ms away, replicas: {row['replicas']}"
            chart.append((label, row["login"]["rate"], plot.OURS))
    plot.bars(PICTURES / "replicas.svg", "Sign-ins with cheap hashes", chart, "answers a second; more is better")
    head = ["database", "replicas", "sign-ins/s", "of one", "refreshes/s", "of one", "sign-outs/s", "of one", "refused"]
    return f"""## Replicas, and a database that is farther away

Servers on one PostgreSQL database, 96 connections in all. A proxy holds each answer of PostgreSQL back for this long.
The hashes are cheap here (`BCRYPT_COST=4`, development), because at cost 12 the hash is the only limit. All servers,
PostgreSQL and the load share the cores of one machine. So with a near database, more replicas cannot be faster.

{table(head, rows)}

![Sign-ins with one, two and three replicas](performance/replicas.svg)"""


def pool(results):
    clients = list(results["pool"][0]["rates"])
    rows = [[distance(row["delay"]), *(figure(row["rates"][count]) for count in clients)] for row in results["pool"]]
    return f"""## How many connections the database can use

Transactions a second of PostgreSQL alone (`pgbench`), each of which changes one row, by the number of connections. It
shows how large a pool is worth having: a server opens four connections for each core, and at least 16.

{table(['database', *(f'{count} connections' for count in clients)], rows)}"""


def growth(results):
    rows, few = [], {}
    for row in results["growth"]:
        base = few.setdefault(row["kind"], row)
        line = [row["kind"], f"{row['users']:,}", figure(row["start"] * 1000, 0), figure(row["memory"], 0)]
        for operation in ("me", "api_token", "refresh", "logout"):
            line += [figure(cpu(row[operation])), ratio(cpu(row[operation]), cpu(base[operation]))]
        rows.append(line)
    head = ["database", "users and revocations", "start ms", "memory MiB"]
    for title in ("`/users/me`", "API token", "refresh", "sign-out"):
        head += [f"{title}: CPU", "of few"]
    return f"""## Growth

*Start* ends with the first answer to `/users/me` with a token, so it includes reading the revocations that are still
needed. Memory is measured then.

{table(head, rows)}"""


def provider(results):
    figures, sizes = results["provider"]["figures"], results["provider"]["sizes"]
    base = next(iter(figures))
    rows = []
    for operation, title in signing_in.OPERATIONS.items():
        for name, of_system in figures.items():
            one, first = of_system[operation], figures[base][operation]
            rows.append([
                title, name, figure(one["rate"]), ratio(one["rate"], first["rate"]), figure(one["p50"]), figure(one["p99"]),
                figure(cpu(one)), ratio(cpu(one), cpu(first)),
            ])
    for name, of_system in figures.items():
        steps = [of_system[operation] for operation in ("authorize", "exchange")]
        rate, used = 1 / sum(1 / one["rate"] for one in steps), sum(cpu(one) for one in steps)
        rows.append(["both: authorize, code, tokens", name, figure(rate), "", "", "", figure(used), ""])
    kinds = list(sizes[base])
    lengths = [[name, *(of_system[kind] for kind in kinds)] for name, of_system in sizes.items()]
    head = ["operation, 32 connections", "system", "rate", f"of {base}", "p50 ms", "p99 ms", "CPU ms/1,000", f"of {base}"]
    return f"""## Signing people in to applications

Tessera as a provider of OpenID Connect, beside oidc-provider (npm) with an adapter on better-sqlite3. Both sign with RS256,
both sync each commit, and in both nobody is asked for consent. A session gets at most 15 codes. An access token of
oidc-provider for userinfo is a row, and Tessera's is a JWT. *Both* adds the two steps of a sign-in, one after the other.

{table(head, rows)}

The length of each token, in bytes:

{table(["system", *kinds], lengths)}"""


def every_figure(results):
    parts = ["## Every figure"]
    for operation, title in OPERATIONS.items():
        rows = []
        for name, figures in results["operations"]["figures"].items():
            for connections, one in figures.get(operation, {}).items():
                rows.append([
                    name, connections, figure(one["rate"]), figure(one["p50"]), figure(one["p99"]), figure(cpu(one)),
                    figure(cpu(one, "database")), figure(one["refused"]) if one["refused"] else "0",
                ])
        head = ["system", "connections", "rate", "p50 ms", "p99 ms", "CPU ms/1,000", "PostgreSQL's", "refused"]
        if rows:
            parts.append(f"### {title[0].upper() + title[1:]}\n\n{table(head, rows)}")
    limits = results.get("limits")
    if limits:
        rows = [["bare poem-openapi", connections, figure(one["rate"]), figure(one["p50"]), figure(one["p99"]), figure(cpu(one))]
                for connections, one in limits["bare"].items()]
        one = limits["bcrypt"]
        rows.append(["bare bcrypt", results["machine"]["cores"], figure(one["rate"]), figure(one["p50"]), figure(one["p99"]), figure(cpu(one))])
        head = ["limit", "connections or threads", "rate", "p50 ms", "p99 ms", "CPU ms/1,000"]
        parts.append(f"### Limits\n\n{table(head, rows)}")
    failures = results["operations"]["failures"]
    if failures:
        rows = [[place, f"`{error[:160]}`".replace("|", "/").replace("\n", " ")] for place, error in failures.items()]
        parts.append("### Loads that ended with an error\n\n" + table(["load", "error"], rows))
    return "\n\n".join(parts)


def systems(results):
    if "operations" not in results:
        return ""
    rows = [
        [name, facts["hash"], facts["durability"], figure(facts["start"] * 1000, 0), figure(facts["idle"], 0), figure(facts["loaded"], 0)]
        for name, facts in results["operations"]["facts"].items()
    ]
    head = ["system", "hash", "durability", "start ms", "idle MiB", "after load MiB"]
    text = table(head, rows).replace("|---|--:|--:|", "|---|---|---|", 1)
    return f"""## The systems

*Start* ends with the first answer. Memory counts what several processes share once. The source of each peer is in
`benches/peers/`.

{text}"""


def write(results):
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    text = "\n\n".join(section.strip() for section in sections(results) if section)
    (DOCS / "performance.md").write_text(text + "\n")
    say("docs/performance.md and docs/performance/ are written")
