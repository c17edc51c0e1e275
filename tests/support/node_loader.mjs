// Lets Node run the test files: maps the two bare specifiers they import to the adapters beside this file.
// Usage: node --import ./tests/support/node_loader.mjs --test tests/NAME.test.ts
import { registerHooks } from "node:module";

const ADAPTERS = new Map([
  ["@std/assert", new URL("./std_assert.ts", import.meta.url).href],
  ["@std/testing/bdd", new URL("./std_testing_bdd.ts", import.meta.url).href],
]);

registerHooks({
  resolve(specifier, context, nextResolve) {
    return nextResolve(ADAPTERS.get(specifier) ?? specifier, context);
  },
});
