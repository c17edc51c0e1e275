/**
 * Violations that a test looks at.
 *
 * @module
 */
import { type AllocatorError, setViolationHook } from "../../mod.ts";

/** Collects violations from now on, by a hook that returns or else throws them. Whoever calls this takes the hook away. */
export function collectViolations(hookReturns = true): AllocatorError[] {
  const violations: AllocatorError[] = [];
  setViolationHook((violation) => {
    violations.push(violation);
    if (!hookReturns) throw violation;
  });
  return violations;
}
