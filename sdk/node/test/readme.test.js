// The code of the README works as it stands there.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const blocks = [...readFileSync(`${root}/README.md`, "utf8").matchAll(/```js\n(.*?)```/gs)].map(([, block]) => block);

test("each block of the README runs", () => {
  assert.equal(blocks.length, 3);
  for (const block of blocks) {
    // It listens on any free port, and ends.
    const code = `${block.replace("8001", "0")}\nconsole.log("it ran"); process.exit(0);`;
    const env = { ...process.env, TESSERA_ISSUER: "http://localhost:8000", TESSERA_AUDIENCE: "tessera", TESSERA_FEED: "off" };
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { cwd: root, env, encoding: "utf8" });
    assert.equal(stdout.trim(), "it ran", stderr);
  }
});
