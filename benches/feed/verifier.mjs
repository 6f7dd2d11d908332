// A service of the benchmark: it measures how late it refuses a token after its sign-out.
//
// Its argument is a file with tokens. Each line of its input has the place of a token in this file, and the time of the
// answer to its sign-out in microseconds. For each it prints the time until it did not accept the token any more, and
// whether it accepted it after the bound, or answered 503. Last it prints how many of all tokens it accepts.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Tessera, Unavailable } from "tessera-verify";

const [BOUND, GIVE_UP, AGAIN] = [1_000, 10_000, 2];
const tokens = readFileSync(process.argv[2], "utf8").split("\n");
const tessera = new Tessera();
const now = () => performance.timeOrigin + performance.now();

async function verdict(token) {
  try {
    await tessera.verify(token);
    return "accepted";
  } catch (error) {
    return error instanceof Unavailable ? "unavailable" : "refused";
  }
}

async function follow(token, at) {
  for (let isLate = false; ; ) {
    const asked = now() - at;
    const said = await verdict(token);
    if (said !== "accepted" || asked > GIVE_UP) {
      return [Math.max(0, Math.round((now() - at) * 1_000)), Number(isLate), Number(said === "unavailable")];
    }
    isLate ||= asked > BOUND;
    await sleep(AGAIN);
  }
}

await tessera.start();
while (tessera.state !== "fresh") await sleep(AGAIN);
console.log("ready");
let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [place, micros] = line.split(" ").map(Number);
  console.log((await follow(tokens[place], micros / 1_000)).join(" "));
  if (++count === tokens.length) break;
}
await sleep(BOUND);
let accepted = 0;
for (const token of tokens) accepted += Number((await verdict(token)) === "accepted");
console.log(accepted);
process.exit(0);
