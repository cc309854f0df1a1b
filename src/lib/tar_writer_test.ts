import { describe, expect, it } from "vitest";
import { type TarMember, writeTar } from "./tar_writer.ts";

const LONG = `${"d".repeat(120)}/${"e".repeat(120)}/f`;

/** What GNU tar lists: an oracle that knows all three formats. */
async function listed(archive: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const tar = new Deno.Command("tar", { args: ["-tvf", "-"], stdin: "piped", stdout: "piped", stderr: "piped" })
    .spawn();
  const writer = tar.stdin.getWriter();
  await writer.write(archive);
  await writer.close();
  const output = await tar.output();
  const text = new TextDecoder();
  expect(text.decode(output.stderr)).toBe("");
  return text.decode(output.stdout).trim().split("\n").map((line) => line.replace(/ +/g, " "));
}

const MEMBERS: readonly TarMember[] = [
  { path: "etc/", kind: "directory" },
  { path: "etc/motd", content: "hello\n", mode: 0o600, mtime: 1 },
  { path: "etc/link", kind: "symlink", target: "../usr/lib/motd" },
  { path: "etc/hard", kind: "hardlink", target: "etc/motd" },
  { path: "exact", content: new Uint8Array(512) },
  { path: `${"p".repeat(155)}/${"n".repeat(99)}`, content: "fits into prefix and name" },
  { path: LONG, content: "x" },
  { path: "to-long", kind: "symlink", target: LONG },
];

describe("writeTar()", () => {
  it.each(["pax", "gnu"] as const)("writes what GNU tar reads, long names as %s records", async (longNames) => {
    expect(await listed(writeTar(MEMBERS, { longNames }))).toEqual([
      "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/",
      "-rw------- 0/0 6 1970-01-01 00:00 etc/motd",
      "lrwxrwxrwx 0/0 0 1970-01-01 00:00 etc/link -> ../usr/lib/motd",
      "hrw-r--r-- 0/0 0 1970-01-01 00:00 etc/hard link to etc/motd",
      "-rw-r--r-- 0/0 512 1970-01-01 00:00 exact",
      `-rw-r--r-- 0/0 25 1970-01-01 00:00 ${"p".repeat(155)}/${"n".repeat(99)}`,
      `-rw-r--r-- 0/0 1 1970-01-01 00:00 ${LONG}`,
      `lrwxrwxrwx 0/0 0 1970-01-01 00:00 to-long -> ${LONG}`,
    ]);
  });

  it("gives equal bytes for equal members, in whole blocks", () => {
    const once = writeTar(MEMBERS);
    expect(writeTar(MEMBERS)).toEqual(once);
    expect(once.length % 512).toBe(0);
    expect(writeTar([])).toEqual(new Uint8Array(1024));
  });
});
