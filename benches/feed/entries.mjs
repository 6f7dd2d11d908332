// A service of the benchmark: it measures what a feed with many entries costs. It prints the numbers as JSON.
import { setTimeout as sleep } from "node:timers/promises";
import { Tessera } from "tessera-verify";

const [LOOK_UPS, VERIFICATIONS, BATCH] = [100_000, 10_000, 500];

/** The memory of this process, in MiB, without what nothing uses any more. */
function resident() {
  globalThis.gc?.();
  return process.memoryUsage().rss / 2 ** 20;
}

/** The time that one call takes, in microseconds. Between two batches, the feed is read. */
async function micros(count, batch) {
  let took = 0;
  for (let done = 0; done < count; done += BATCH) {
    const began = performance.now();
    await batch();
    took += performance.now() - began;
    await sleep(1);
  }
  return (took * 1_000) / count;
}

const before = resident();
const began = performance.now();
const tessera = new Tessera();
await tessera.start();
while (tessera.state !== "fresh") await sleep(1);
const start = performance.now() - began;
const memory = resident() - before;
const token = process.env.TOKEN;
const claims = await tessera.verify(token);
const { feed } = tessera.knowledge;
const lookUp = await micros(LOOK_UPS, () => {
  for (let turn = 0; turn < BATCH; turn++) {
    if (feed.refuses(claims, "kid")) throw new Error("the token is refused");
  }
});
const verify = await micros(VERIFICATIONS, async () => {
  for (let turn = 0; turn < BATCH; turn++) await tessera.verify(token);
});
console.log(
  JSON.stringify({ entries: feed.list.size, start_ms: start, memory_mib: memory, look_up_us: lookUp, verify_us: verify }),
);
process.exit(0);
