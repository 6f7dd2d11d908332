"""Types into `tessera shell` in a real pseudo-terminal.

usage: prompt.py TESSERA DATABASE_URL HOME
"""

import os
import re
import sys

import pexpect

tessera, database, home = sys.argv[1:4]
environment = {"PATH": "/usr/bin:/bin", "HOME": home, "TERM": "xterm", "DATABASE_URL": database}
UP, TAB, CTRL_C, CTRL_D = "\x1b[A", "\t", "\x03", "\x04"


def start():
    shell = pexpect.spawn(tessera, ["shell"], env=environment, encoding="utf-8", timeout=120, dimensions=(40, 200))
    shell.expect("tessera> ")
    return shell


def answer(shell, typed):
    shell.send(typed)
    shell.expect("\r\n", timeout=120)
    shell.expect("tessera> ")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shell.before)


shell = start()
# TAB completes a word, and a second TAB lists the possible words.
made = answer(shell, "tok" + TAB + "cre" + TAB + "--user" + TAB + "first@user.com --name typed\r")
secret = re.search(r"tsr_[A-Za-z0-9]{49}", made)
assert secret, made
listed = answer(shell, "token list\r")
assert "typed" in listed and secret.group() not in listed, listed
assert answer(shell, f"token check --token {secret.group()}\r").strip().endswith("true")
tree = answer(shell, "help tree token\r")
assert "--username*" in tree, tree
# A secret in the wrong place is neither shown nor put into the history.
answer(shell, f"token check {secret.group()}\r")
answer(shell, f"token delete --id {secret.group()}\r")
# Ctrl-C discards the line and keeps the shell.
shell.send("token delete --username first@user.com" + CTRL_C)
shell.expect("tessera> ")
assert "unrecognized subcommand" in answer(shell, "fly\r")
assert "leave with" in answer(shell, "serve\r")
shell.send(CTRL_D)
shell.expect(pexpect.EOF)
shell.close()
assert shell.exitstatus == 0, shell.exitstatus

# The next shell has the history, without lines that contain a secret.
with open(os.path.join(home, ".local/state/tessera/history")) as file:
    history = file.read()
assert "token list" in history and secret.group() not in history, history
shell = start()
shell.send(UP + UP + UP)
shell.expect("help tree token")
shell.send(CTRL_C)
shell.expect("tessera> ")
shell.sendline("exit")
shell.expect(pexpect.EOF)
print("typed")
