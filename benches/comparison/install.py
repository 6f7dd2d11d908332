"""Builds the tools and installs the peers into `target/bench-tools`, if they are not there yet."""

import filecmp
import os
import shutil
import subprocess
import sys

from .base import PEERS, ROOT, TOOLS, Failed, say


def run(command, folder=ROOT):
    done = subprocess.run([str(part) for part in command], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))} failed: {done.stdout.decode(errors='replace')[-3000:]}")
    return done.stdout.decode()


def is_current(wanted, installed):
    return installed.exists() and filecmp.cmp(wanted, installed, shallow=False)


def peers():
    """Installs the peers at the versions of `benches/peers`. The compiler builds SQLite once, which takes a minute."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            raise Failed(f"{program} is missing: install Node 20 or later")
    python, node = TOOLS / "python", TOOLS / "node"
    wanted = PEERS / "requirements.txt"
    if not is_current(wanted, python / "installed"):
        say("installing the peers from PyPI")
        shutil.rmtree(python, ignore_errors=True)
        run([sys.executable, "-m", "venv", python])
        run([python / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted])
        shutil.copy(wanted, python / "installed")
    wanted = PEERS / "package-lock.json"
    if not is_current(wanted, node / "installed"):
        say("installing the peers from npm; this compiles SQLite")
        shutil.rmtree(node, ignore_errors=True)
        node.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PEERS / name, node)
        run(["npm", "ci", "--no-audit", "--no-fund"], node)
        shutil.copy(wanted, node / "installed")
    # Node looks for packages in the folder of the program.
    for name in ("fastify", "better-auth", "oidc-provider"):
        shutil.copy(PEERS / name / "server.mjs", node / f"{name}.mjs")


def built(package, profile, given):
    """The binary of a package, built unless it is given."""
    if given:
        if not os.access(given, os.X_OK):
            raise Failed(f"{given} is not a program: build it, or leave the option out")
        return os.path.abspath(given)
    say(f"building {package}")
    run(["cargo", "build", "--locked", "--quiet", "--profile", profile, "--package", package])
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    return os.path.join(target, "debug" if profile == "dev" else profile, package)
