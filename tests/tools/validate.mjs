// Validates HTML: `node validate.mjs FOLDER`. It loads the libraries from the working directory.

import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { HtmlValidate } = require("html-validate");
// The rules of the standard, without rules of style.
const validator = new HtmlValidate({ extends: ["html-validate:standard", "html-validate:a11y"] });
const folder = process.argv[2];
let count = 0;
for (const name of readdirSync(folder)) {
  const report = await validator.validateFile(join(folder, name));
  for (const result of report.results) {
    for (const { line, ruleId, message } of result.messages) {
      count += 1;
      console.log(`${name}:${line} ${ruleId}: ${message}`);
    }
  }
}
process.exit(count === 0 ? 0 : 1);
