/**
 * Counts the tests in a JUnit report. All three runners write one; they disagree on the totals (Deno calls skipped tests
 * disabled, Node counts a skipped group as one test), so the test cases themselves are counted.
 *
 * @module
 */

/** Numbers of tests. */
export interface Counts {
  /** Tests that passed. */
  passed: number;
  /** Tests that failed, and failures that belong to no test: a crash, a file without tests. */
  failed: number;
  /** Tests that were not run, on purpose. */
  skipped: number;
}

/** Zero of everything. */
export function noCounts(): Counts {
  return { passed: 0, failed: 0, skipped: 0 };
}

/** Adds `more` to `total`. */
export function addCounts(total: Counts, more: Counts): void {
  total.passed += more.passed;
  total.failed += more.failed;
  total.skipped += more.skipped;
}

/** The closing line of every command: `12 passed, 0 failed`, and how many were skipped if any were. */
export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`;
}

/** One test case: empty (`<testcase .../>`) or with what it holds. A `>` inside an attribute is allowed by XML. */
const TEST_CASE = /<testcase\b(?:[^>"']|"[^"]*"|'[^']*')*?(?:\/>|>([\s\S]*?)<\/testcase>)/g;

/** Counts the test cases of a report. Throws when the text is not a whole report. */
export function countTests(xml: string): Counts {
  if (!/<testsuites\b/.test(xml) || !/<\/testsuites>\s*$|<testsuites\b[^>]*\/>\s*$/.test(xml)) {
    throw new Error("Cannot count tests: the report is not a complete JUnit file");
  }
  const counts = noCounts();
  for (const [, content = ""] of xml.matchAll(TEST_CASE)) {
    if (/<(?:failure|error)\b/.test(content)) counts.failed++;
    else if (/<skipped\b/.test(content)) counts.skipped++;
    else counts.passed++;
  }
  return counts;
}
