/**
 * Reading a tar with our parser, with modern-tar and with tar-stream, so that the outcomes can be compared.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers";
import { unpackTar } from "modern-tar";
import tarStream from "tar-stream";
import { layerFail } from "../../src/layers/fail.ts";
import { TarParser } from "../../src/layers/tar.ts";
import { oddArchives } from "./odd_archives.ts";

/** A member as all three can tell it. */
export interface Member {
  readonly name: string;
  readonly size: number;
  readonly content: string;
}

/** "hangs": the library neither ends nor fails. */
export type Reading = readonly Member[] | "refused" | "hangs";

/** More turns of the event loop than reading an archive in memory takes. */
const TURNS = 200;

/** Digest of a member's content, in hexadecimal. */
export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const plain = (name: string): string => name.replace(/\/+$/, "");

/** Ours, in pieces of a size. */
export function ours(archive: Uint8Array, piece = archive.length || 1): Reading {
  const members: Member[] = [];
  let hash = createHash("sha256");
  let current = { name: "", size: 0 };
  const parser = new TarParser({
    fail: layerFail("test"),
    sink: {
      header: ({ name, size }): boolean => {
        current = { name: plain(name), size };
        hash = createHash("sha256");
        return true;
      },
      data: (bytes): void => void hash.update(bytes),
      end: (): void => void members.push({ ...current, content: hash.digest("hex") }),
    },
  });
  try {
    for (let at = 0; at < archive.length; at += piece) parser.push(archive.subarray(at, at + piece));
    parser.finish();
    return members;
  } catch {
    return "refused";
  }
}

async function modernTar(archive: Uint8Array<ArrayBuffer>): Promise<Reading> {
  try {
    const entries = await unpackTar(archive);
    return entries.map(({ header, data = new Uint8Array(0) }) => ({
      name: plain(header.name),
      size: data.length,
      content: sha256(data),
    }));
  } catch {
    return "refused";
  }
}

function streamTar(archive: Uint8Array): Promise<Reading> {
  const members: Member[] = [];
  const extract = tarStream.extract();
  return new Promise((resolve) => {
    extract.on("entry", (header, body, next) => {
      const parts: Uint8Array[] = [];
      body.on("data", (part) => parts.push(part as Uint8Array));
      body.on("end", () => {
        const bytes = new Uint8Array(parts.flatMap((part) => [...part]));
        members.push({ name: plain(header.name), size: bytes.length, content: sha256(bytes) });
        next();
      });
      body.on("error", () => resolve("refused"));
    });
    extract.on("finish", () => resolve(members));
    extract.on("error", () => resolve("refused"));
    extract.end(archive);
    void (async () => {
      for (let turn = 0; turn < TURNS; turn++) await new Promise((done) => setImmediate(done));
      extract.destroy();
      resolve("hangs");
    })();
  });
}

/** How an outcome differs from ours. */
function difference(own: Reading, other: Reading): string | undefined {
  if (JSON.stringify(own) === JSON.stringify(other)) return undefined;
  if (other === "hangs") return "neither ends nor fails";
  if (other === "refused") return "refuses it";
  return own === "refused" ? "takes it" : "sees other members";
}

/** What each library does otherwise with the odd archives: archive → library → how. */
export async function differences(): Promise<Record<string, Record<string, string>>> {
  const all: Record<string, Record<string, string>> = {};
  for (const [name, archive] of Object.entries(oddArchives())) {
    const own = ours(archive);
    const readings = { "modern-tar": await modernTar(archive), "tar-stream": await streamTar(archive) };
    for (const [library, reading] of Object.entries(readings)) {
      const how = difference(own, reading);
      if (how !== undefined) (all[name] ??= {})[library] = how;
    }
  }
  return all;
}
