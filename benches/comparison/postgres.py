"""A PostgreSQL server of the run's own, so that its settings are known and its CPU time can be counted."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .base import TOOLS, WORK, Failed, Process, free_port


def programs():
    """The folder with PostgreSQL's programs, of the newest version that is installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    if folders:
        return folders[-1]
    if shutil.which("initdb"):
        return Path(shutil.which("initdb")).parent
    raise Failed("PostgreSQL is missing: install the package postgresql")


class Postgres:
    """The server. It syncs each commit, as its defaults are."""

    def __init__(self):
        self.programs = programs()
        user = "postgres" if os.geteuid() == 0 else None
        # Beside the SQLite files, so that both are on the same disk.
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=TOOLS))
        if user:
            shutil.chown(self.folder, user)
        data = self.folder / "data"
        command = [self.programs / "initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--no-sync"]
        # PostgreSQL refuses to run as root.
        who = {"user": user, "group": user, "extra_groups": []} if user else {}
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, **who)
        if done.returncode != 0:
            raise Failed(f"initdb failed: {done.stderr or done.stdout}")
        self.port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "max_connections": 200}
        options["unix_socket_directories"] = self.folder
        command = [self.programs / "postgres", "-D", data]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.process = Process(command, folder=self.folder, user=user, log="postgres").awaited(self.port)
        self.address = f"127.0.0.1:{self.port}"
        for _ in range(100):
            if self.sql("select 1", check=False).returncode == 0:
                break
        self.version = self.sql("show server_version").stdout.strip()

    def sql(self, text, database="postgres", check=True):
        command = [self.programs / "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", self.url(database), "-c", text]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if check and done.returncode != 0:
            raise Failed(f"{text[:200]}: {done.stderr}")
        return done

    def url(self, database, address=None, scheme="postgres"):
        return f"{scheme}://postgres@{address or self.address}/{database}"

    def create(self, name):
        self.sql(f"drop database if exists {name} with (force)")
        self.sql(f"create database {name}")
        return self.url(name)

    def pgbench(self, script, clients, seconds, address=None, database="postgres"):
        """The transactions a second of a script."""
        host, port = (address or self.address).rsplit(":", 1)
        file = WORK / "pgbench.sql"
        file.write_text(script)
        command = [self.programs / "pgbench", "-n", "-M", "prepared", "-f", file, "-c", clients, "-T", seconds]
        command += ["-h", host, "-p", port, "-U", "postgres", database]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        for line in done.stdout.splitlines():
            if line.startswith("tps = "):
                return float(line.split()[2])
        raise Failed(f"pgbench failed: {done.stderr}")

    def stop(self):
        # SIGINT is PostgreSQL's fast shutdown.
        self.process.stop(2)
        shutil.rmtree(self.folder, ignore_errors=True)
