/**
 * `deno run -A scripts/misuse_table.ts`: writes docs/misuse.md from the table of expectations in tests/misuse/, which the
 * tests hold against what really happens. With `--check` it writes nothing and fails when the page is another.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { misusePage } from "../tests/misuse/page.ts";
import { root } from "./runners.ts";

const path = join(root, "docs", "misuse.md");
const page = misusePage();
if (!process.argv.includes("--check")) writeFileSync(path, page);
else if (readFileSync(path, "utf8").replaceAll("\r\n", "\n") !== page) {
  console.error("docs/misuse.md is not what the table says: run scripts/misuse_table.ts");
  process.exitCode = 1;
}
