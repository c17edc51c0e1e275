/**
 * The entry `@offheap/alloc/heap`: the same things as the whole module has, and a heap that works by itself.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import * as entry from "../heap.ts";
import * as whole from "../mod.ts";
import { rootPath } from "./support/runtime.ts";

describe("@offheap/alloc/heap", () => {
  it("exports nothing that the whole module has not, or has otherwise", () => {
    const names = Object.keys(entry);
    assert(names.includes("Heap") && names.includes("InvalidFreeError"), names.join(", "));
    for (const [name, value] of Object.entries(entry)) assertEquals(value, whole[name as keyof typeof whole], name);
  });

  it("is an entry of both package files, and has an effect, which bundlers must keep", () => {
    for (const file of ["deno.json", "package.json"]) {
      const { exports } = JSON.parse(readFileSync(`${rootPath}/${file}`, "utf8"));
      assertEquals(exports, { ".": "./mod.ts", "./heap": "./heap.ts" }, file);
    }
    const { sideEffects } = JSON.parse(readFileSync(`${rootPath}/package.json`, "utf8"));
    assertEquals(sideEffects, ["./mod.ts", "./heap.ts"]);
  });

  it("has the system's page source as its default", () => {
    using heap = new entry.Heap();
    heap.view(heap.allocate(64)).fill(7);
    assertEquals(heap.source, entry.systemPageSource());
    heap.check();
  });
});
