/**
 * Fault injection on the free-list and bucket allocators and the reference systems: see faults.test.ts.
 *
 * @module
 */
import { faultTests } from "./fault_scenarios.ts";
import { SUBJECTS } from "./subjects.ts";

faultTests(SUBJECTS.filter(({ linear }) => linear === true));
