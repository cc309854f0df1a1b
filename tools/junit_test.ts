import { describe, expect, it } from "vitest";
import { readJunit } from "./junit.ts";

const report = (cases: string): string =>
  `<?xml version="1.0"?><testsuites><testsuite name="s">${cases}</testsuite></testsuites>`;

describe("readJunit()", () => {
  it("tells passed, failed and skipped tests apart and decodes their names", () => {
    const xml = report(`
      <testcase name="a &gt; &quot;b&quot; &#38; c" classname="x" time="0.1" line="1" col="2">
      </testcase>
      <testcase name="d" classname="x"><failure message="no">expected &lt;testcase name="z"&gt;</failure></testcase>
      <testcase name="e" classname="x"><skipped/></testcase>
      <testcase name="f" classname="x"/>`);
    expect(readJunit(xml)).toEqual([
      { name: 'a > "b" & c', outcome: "passed" },
      { name: "d", outcome: "failed" },
      { name: "e", outcome: "skipped" },
      { name: "f", outcome: "passed" },
    ]);
  });

  it("counts steps instead of the test that holds them", () => {
    const xml = report(`
      <testcase name="s"><failure message="1 test step failed">1 test step failed.</failure></testcase>
      <testcase name="s &gt; one"></testcase>
      <testcase name="s &gt; two"><failure message="x">x</failure></testcase>
      <testcase name="h"><failure message="in a hook">in a hook</failure></testcase>
      <testcase name="h &gt; one"></testcase>`);
    expect(readJunit(xml).map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      "s > one passed",
      "s > two failed",
      "h failed",
      "h > one passed",
    ]);
  });

  it("finds nothing in an empty report", () => {
    expect(readJunit(report(""))).toEqual([]);
  });
});
