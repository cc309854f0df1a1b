/**
 * Images made to exhaust whoever reads them, written as OCI layouts. Layers of any size are generated while they are
 * compressed: only what they compress to is ever on the disk.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createGzip } from "node:zlib";
import { Readable } from "node:stream";
import type { Digest } from "../../src/core/digest.ts";
import { sha256Digest } from "../../src/lib/oci_builder.ts";
import { concat, padded, paxRecord, tarEnd, tarHeader, tarMember } from "./tar_builder.ts";
import { pom, zip } from "./zip_builder.ts";

const CHUNK = 256 << 10;
const OS_RELEASE = tarMember({ name: "etc/os-release", body: 'ID=debian\nVERSION_ID="12"\n' });

/** Parts of a tar, the end marker included; each is valid until the next is asked for. */
export type TarParts = Iterable<Uint8Array<ArrayBuffer>>;

/** Writes an OCI layout with an image of one gzip layer; returns the stored size of the layer. */
export async function writeHostileImage(dir: string, parts: TarParts): Promise<number> {
  const blobs = `${dir}/blobs/sha256`;
  await Deno.mkdir(blobs, { recursive: true });
  const diff = createHash("sha256");
  const stored = createHash("sha256");
  function* hashed(): Generator<Uint8Array<ArrayBuffer>> {
    for (const part of parts) {
      diff.update(part);
      yield part.slice();
    }
  }
  let size = 0;
  {
    using file = await Deno.open(`${dir}/layer`, { write: true, create: true });
    const gzip = Readable.from(hashed(), { objectMode: false }).pipe(createGzip({ level: 6, chunkSize: CHUNK }));
    for await (const chunk of gzip as AsyncIterable<Uint8Array>) {
      stored.update(chunk);
      size += chunk.length;
      for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
    }
  }
  const hex = stored.digest("hex");
  await Deno.rename(`${dir}/layer`, `${blobs}/${hex}`);
  const put = async (value: unknown): Promise<{ readonly digest: Digest; readonly size: number }> => {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    const digest = sha256Digest(bytes);
    await Deno.writeFile(`${blobs}/${digest.slice(7)}`, bytes);
    return { digest, size: bytes.length };
  };
  const type = "application/vnd.oci.image";
  const config = await put({
    os: "linux",
    architecture: "amd64",
    config: {},
    rootfs: { type: "layers", diff_ids: [`sha256:${diff.digest("hex")}`] },
  });
  const manifest = await put({
    schemaVersion: 2,
    mediaType: `${type}.manifest.v1+json`,
    config: { mediaType: `${type}.config.v1+json`, ...config },
    layers: [{ mediaType: `${type}.layer.v1.tar+gzip`, digest: `sha256:${hex}`, size }],
  });
  const index = { schemaVersion: 2, manifests: [{ mediaType: `${type}.manifest.v1+json`, ...manifest }] };
  await Deno.writeTextFile(`${dir}/index.json`, JSON.stringify(index));
  await Deno.writeTextFile(`${dir}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  return size;
}

/** Parts of a layer with an os-release and these files. */
export function* filesLayer(files: Readonly<Record<string, string | Uint8Array>>): TarParts {
  yield OS_RELEASE;
  for (const [name, body] of Object.entries(files)) yield tarMember({ name, body });
  yield tarEnd();
}

/** A file of so many zeros in front of a database with one package. */
export function* zerosLayer(bytes: number): TarParts {
  yield OS_RELEASE;
  yield tarHeader({ name: "zeros", size: bytes });
  const zeros = new Uint8Array(CHUNK);
  for (let left = bytes; left > 0; left -= CHUNK) yield zeros.subarray(0, Math.min(left, CHUNK));
  yield tarMember({ name: "var/lib/dpkg/status", body: stanza(0) });
  yield tarEnd();
}

/** So many empty files, each with a name of its own. */
export function* entriesLayer(count: number): TarParts {
  yield OS_RELEASE;
  const header = tarHeader({ name: `d/${"0".repeat(9)}`, size: 0 });
  let sum = 0;
  for (const [at, byte] of header.entries()) sum += at >= 148 && at < 156 ? 0x20 : byte;
  const chunk = new Uint8Array(512 * 512);
  let filled = 0;
  for (let entry = 0; entry < count; entry++) {
    let digits = 0;
    for (let at = 10, rest = entry; at >= 2; at--, rest = Math.floor(rest / 10)) {
      digits += rest % 10;
      header[at] = 0x30 + rest % 10;
    }
    const checksum = (sum + digits).toString(8).padStart(6, "0");
    for (let at = 0; at < 6; at++) header[148 + at] = checksum.charCodeAt(at);
    chunk.set(header, filled);
    filled += 512;
    if (filled < chunk.length) continue;
    yield chunk;
    filled = 0;
  }
  yield chunk.subarray(0, filled);
  yield tarEnd();
}

/** A pax record of so many bytes. */
export function* paxLayer(bytes: number): TarParts {
  yield OS_RELEASE;
  const record = new TextEncoder().encode(paxRecord("comment", "x".repeat(bytes)));
  yield tarHeader({ name: "PaxHeaders/x", type: "x", size: record.length });
  yield padded(record);
  yield tarMember({ name: "file", body: "" });
  yield tarEnd();
}

/** A dpkg status file of so many packages whose stanzas have so many bytes, with ten dependencies each. */
export function* statusLayer(packages: number, stanzaBytes: number): TarParts {
  yield OS_RELEASE;
  const encoder = new TextEncoder();
  let size = 0;
  for (let at = 0; at < packages; at++) size += stanza(at, stanzaBytes).length;
  yield tarHeader({ name: "var/lib/dpkg/status", size });
  for (let at = 0; at < packages; at++) yield encoder.encode(stanza(at, stanzaBytes));
  yield new Uint8Array((512 - size % 512) % 512);
  yield tarEnd();
}

function stanza(at: number, bytes = 0): string {
  const depends = at === 0
    ? "libc6"
    : Array.from({ length: 9 }, (_, back) => name(Math.max(0, at - 1 - back * back))).join(", ");
  const head = `Package: ${name(at)}\nStatus: install ok installed\nVersion: 1.${at}-1\nDepends: ${depends}\n`;
  return `${head}Description: ${"x".repeat(Math.max(0, bytes - head.length - 15))}\n\n`;
}

function name(at: number): string {
  return `hostile-package-with-a-long-name-${String(at).padStart(6, "0")}`;
}

/** Sixteen jars in each of sixteen jars …, at the bottom so many zeros: 42.zip, as jars. */
export function bombJar(levels: number, zeros: number): Uint8Array {
  let inner = zip([pom("bomb", "inner", "1"), { name: "zeros.class", body: new Uint8Array(zeros) }]);
  for (let level = 0; level < levels; level++) {
    const body = inner;
    inner = zip(Array.from({ length: 16 }, (_, at) => ({ name: `lib/${level}-${at}.jar`, body })));
  }
  return inner;
}

/** A jar in a jar in a jar …, each with its coordinates. */
export function nestedJar(levels: number): Uint8Array {
  let inner = zip([pom("nested", "level-0", "1")]);
  for (let level = 1; level <= levels; level++) {
    inner = zip([pom("nested", `level-${level}`, "1"), { name: `lib/level-${level - 1}.jar`, body: inner }]);
  }
  return inner;
}

/** A stored zip whose entries all are the same bytes of the file (Fifield's overlapping bomb), by its directory. */
export function overlappingJar(entries: number, bytes: number): Uint8Array {
  const one = zip([{ name: "a.jar", body: new Uint8Array(bytes) }]);
  const at = one.lastIndexOf(0x50, one.length - 23);
  const central = one.slice(at, one.length - 22);
  const end = one.slice(one.length - 22);
  const view = new DataView(end.buffer);
  view.setUint16(8, entries, true);
  view.setUint16(10, entries, true);
  view.setUint32(12, central.length * entries, true);
  return concat(one.subarray(0, at), ...Array.from({ length: entries }, () => central), end);
}
