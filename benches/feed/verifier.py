"""A service of the benchmark: it measures how late it refuses a token after its sign-out.

Its argument is a file with tokens. Each line of its input has the place of a token in this file, and the time of the
answer to its sign-out in microseconds. For each it prints the time until it did not accept the token any more, and
whether it accepted it after the bound, or answered 503. Last it prints how many of all tokens it accepts.
"""

import sys
import time
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from tessera_verify import Denied, State, Tessera, Unavailable

BOUND = 1.0
GIVE_UP = 10.0
AGAIN = 0.002


def verdict(tessera: Tessera, token: str) -> str:
    try:
        tessera.verify(token)
    except Unavailable:
        return "unavailable"
    except Denied:
        return "refused"
    return "accepted"


def follow(tessera: Tessera, token: str, at: float) -> tuple[int, int, int]:
    is_late = False
    while True:
        asked = time.time() - at
        said = verdict(tessera, token)
        if said != "accepted" or asked > GIVE_UP:
            return max(0, int((time.time() - at) * 1e6)), int(is_late), int(said == "unavailable")
        is_late = is_late or asked > BOUND
        time.sleep(AGAIN)


def main() -> None:
    tokens = Path(sys.argv[1]).read_text().split()
    tessera = Tessera.from_env().start()
    while tessera.state is not State.FRESH:
        time.sleep(AGAIN)
    print("ready", flush=True)
    lines: SimpleQueue[str] = SimpleQueue()
    Thread(target=lambda: [lines.put(line) for line in sys.stdin], daemon=True).start()
    for _ in tokens:
        place, micros = lines.get().split()
        print(*follow(tessera, tokens[int(place)], int(micros) / 1e6))
    time.sleep(BOUND)
    print(sum(verdict(tessera, token) == "accepted" for token in tokens), flush=True)


main()
