import { describe, expect, it } from "vitest";
import { parseSource } from "./source.ts";

const exists = (path: string): Promise<boolean> => Promise.resolve(path === "saved-image");

describe("parseSource()", () => {
  it.each([
    ["alpine", "registry"],
    ["localhost:5000/team/app:1.2", "registry"],
    ["team.tar/app", "registry"],
    ["registry:./odd", "registry"],
    ["docker://r.io/a:1", "registry"],
    ["./image", "archive"],
    ["/srv/image.tar", "archive"],
    ["image.tar", "archive"],
    ["image.tar.gz", "archive"],
    ["docker-archive:image", "archive"],
    ["oci:dir:tag", "archive"],
    ["saved-image", "archive"],
    ["registry:saved-image", "registry"],
  ])("takes %s as %s", async (text, kind) => {
    expect((await parseSource(text, exists)).kind).toBe(kind);
  });

  it("names an archive after its file", async () => {
    expect(await parseSource("oci-archive:/a/b/image.tar", exists)).toMatchObject({ name: "image.tar" });
  });

  it.each([
    ["oci:dir", "dir", undefined],
    ["oci:/a/dir:1.0", "/a/dir", "1.0"],
    ["oci:a:b/dir", "a:b/dir", undefined],
    ["docker-archive:a:b.tar", "a:b.tar", undefined],
  ])("takes %s apart", async (text, path, reference) => {
    expect(await parseSource(text, exists)).toMatchObject({ path, reference });
  });

  it("refuses an empty source", async () => {
    await expect(parseSource(" ", exists)).rejects.toThrow("empty");
  });
});
