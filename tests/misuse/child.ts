/**
 * A process that commits misuses, each in an allocator of its own: `child.ts MODE NAME/VARIANT ...`.
 *
 * Before each it writes a line `> NAME/VARIANT`, after it `= ` and the result as JSON. When the process ends in between, the
 * misuse ended it.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { MISUSES } from "./catalogue.ts";
import { MODES } from "./modes.ts";
import { type Result, Scene, type SizeName } from "./scene.ts";

const [modeName, ...items] = process.argv.slice(2);
const mode = MODES.find(({ name }) => name === modeName);
if (mode === undefined) throw new Error(`Cannot run in mode ${modeName}: there is none of that name`);

for (const item of items) {
  const [name = "", variant] = item.split("/");
  const misuse = MISUSES.get(name);
  if (misuse === undefined) throw new Error(`Cannot commit ${name}: there is no such misuse`);
  writeSync(1, `> ${item}\n`);
  let result: Result;
  const scene = new Scene(mode, variant as SizeName);
  try {
    result = scene.run(misuse);
  } finally {
    scene.close();
  }
  writeSync(1, `= ${JSON.stringify(result)}\n`);
}
