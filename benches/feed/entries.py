"""A service of the benchmark: it measures what a feed with many entries costs. It prints the numbers as JSON."""

import json
import os
import time

from tessera_verify import State, Tessera

LOOK_UPS = 100_000
VERIFICATIONS = 10_000


def resident() -> float:
    """The memory of this process, in MiB."""
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def micros(begin: float, count: int) -> float:
    return (time.perf_counter() - begin) * 1e6 / count


before, began = resident(), time.perf_counter()
tessera = Tessera.from_env().start()
while tessera.state is not State.FRESH:
    time.sleep(0.001)
start = (time.perf_counter() - began) * 1000
memory = resident() - before
token = os.environ["TOKEN"]
claims = tessera.verify(token)
# The list is private: services ask it within a verification.
feed = tessera._feed
assert feed is not None
began = time.perf_counter()
for _ in range(LOOK_UPS):
    assert not feed.refuses(claims, "kid")
look_up = micros(began, LOOK_UPS)
began = time.perf_counter()
for _ in range(VERIFICATIONS):
    tessera.verify(token)
verify = micros(began, VERIFICATIONS)
print(
    json.dumps(
        {
            "entries": len(feed.list),
            "start_ms": start,
            "memory_mib": memory,
            "look_up_us": look_up,
            "verify_us": verify,
        }
    )
)
