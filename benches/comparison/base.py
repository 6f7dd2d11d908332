"""Paths, processes, requests and the load generator."""

import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benches" / "peers"
TOOLS = ROOT / "target" / "bench-tools"
WORK = TOOLS / "work"
SECRET = "5e7d0c2b9a81f64637c5d2e80b19fa4c6e3d7081b2f59ac44d0e8f716a2b3c95"
PASSWORD = "correct horse battery"

# The cost of the hashes that are measured, and the one with which users and sessions are prepared.
COST = 12
PREPARING = 4


class Failed(Exception):
    """A sentence for the person who runs the comparison."""


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Process:
    """A server process, which ends with `stop` or at the end of the run."""

    running = []

    def __init__(self, command, environment=None, folder=None, user=None, log="process"):
        folder = folder or WORK
        self.log = WORK / f"{log}.log"
        plain = {"PATH": os.environ["PATH"], "HOME": str(WORK), "LANG": "C.UTF-8"}
        with self.log.open("ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env=plain | {name: str(value) for name, value in (environment or {}).items()},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                **({"user": user, "group": user, "extra_groups": []} if user else {}),
            )
        self.pid = self.child.pid
        Process.running.append(self)

    def awaited(self, port, seconds=60):
        """Waits until the process listens."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                raise Failed(f"{self.child.args[0]} ended: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return self
            except OSError:
                time.sleep(0.002)
        raise Failed(f"{self.child.args[0]} does not listen on port {port}: {self.said()}")

    def said(self):
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self, signal=15):
        if self.child.poll() is None:
            os.killpg(self.pid, signal)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, 9)
                self.child.wait()
        if self in Process.running:
            Process.running.remove(self)


def stop_all():
    for process in reversed(Process.running[:]):
        process.stop()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def printed_address(command):
    """Starts a tool that prints its address first. Returns the process and the address."""
    log = f"tool-{free_port()}"
    process = Process(command, log=log)
    for _ in range(1000):
        text = process.log.read_text()
        if "\n" in text:
            return process, text.splitlines()[0]
        time.sleep(0.01)
    raise Failed(f"{command} prints no address: {text}")


def tree(root):
    """The ids of a process and of its descendants."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int(folder.joinpath("stat").read_text().rsplit(") ", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found, new = {root}, {root}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def memory(roots):
    """The memory of processes and their descendants in MiB. What several of them share counts once."""
    total = 0
    for process in set().union(*(tree(root) for root in roots)):
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total / 1024


_local = threading.local()


def ask(address, method, path, headers=None, body=None):
    """Sends one request. Returns the status, the headers and the body."""
    connections = _local.__dict__.setdefault("connections", {})
    for attempt in (1, 2):
        connection = connections.get(address) or http.client.HTTPConnection(address, timeout=60)
        connections[address] = connection
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (http.client.HTTPException, OSError):
            connections.pop(address).close()
            if attempt == 2:
                raise


def expected(status, answer):
    """Returns the headers and the body of an answer with this status."""
    if answer[0] != status:
        raise Failed(f"the answer is {answer[0]} instead of {status}: {answer[2][:300]}")
    return answer[1], answer[2]


def many(work, items, threads=8):
    """Does the same for many items at once, and returns the results in order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def request(method, path, headers=(), body="", values=(), mode="stay", field="", expect=(200,), refused=()):
    """A request for the load generator. `{value}` in its parts is replaced by one of `values`."""
    return {
        "method": method,
        "path": path,
        "headers": [list(header) for header in headers],
        "body": body,
        "values": list(values),
        "mode": mode,
        "field": field,
        "expect": list(expect),
        "refused": list(refused),
    }


FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")


def bearer(value="{value}"):
    return ("Authorization", f"Bearer {value}")


class Load:
    """A load that runs in a process of its own."""

    def __init__(self, tool, addresses, call, connections, window, warm_up=0.3, drain=False, rate=None, cpu=None, pause=0):
        scenario = call | {
            "addresses": addresses,
            "connections": connections,
            "warm_up": 0 if call["mode"] == "once" or drain else warm_up,
            "window": window,
            "drain": drain or call["mode"] == "once",
            "rate": rate,
            "pause": pause,
            "cpu": cpu or {},
        }
        self.what = f"{call['method']} {call['path']} with {connections} connections"
        self.child = subprocess.Popen(
            [str(tool), "load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.child.stdin.write(json.dumps(scenario))
        self.child.stdin.close()

    def figures(self):
        out, errors = self.child.stdout.read(), self.child.stderr.read()
        if self.child.wait() != 0:
            raise Failed(f"{self.what}: {errors.strip()}")
        figures = json.loads(out)
        answered = figures["answered"]
        figures["rate"] = answered / figures["seconds"]
        # CPU milliseconds for 1,000 requests.
        handled = answered + figures["refused"]
        figures["cpu"] = {name: used * 1e6 / handled if handled else None for name, used in figures["cpu"].items()}
        return figures

    def stop(self):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()
        self.child.stderr.close()


def median(numbers):
    numbers = sorted(number for number in numbers if number is not None)
    if not numbers:
        return None
    middle = len(numbers) // 2
    return numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2


def summary(rounds):
    """The median of each figure over the rounds."""
    kept = {name: median([figures[name] for figures in rounds]) for name in ("rate", "p50", "p99")}
    kept["refused"] = sum(figures["refused"] for figures in rounds)
    kept["cpu"] = {name: median([figures["cpu"][name] for figures in rounds]) for name in rounds[0]["cpu"]}
    return kept
