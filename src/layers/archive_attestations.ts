/**
 * In-toto statements that BuildKit keeps beside an image: manifests that an index marks as attestations of another.
 *
 * @module
 */
import type { Digest } from "../core/digest.ts";
import { toOutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { AttestationStatement, Descriptor, Problem } from "../core/types.ts";
import { isRecord } from "../lib/bounded_json.ts";
import { type LayoutBlobs, readManifest } from "./archive_blobs.ts";

const IN_TOTO = "application/vnd.in-toto+json";
const PROVENANCE = "https://slsa.dev/provenance/";

/** Manifest and layer of a statement that has not been read. */
interface Found {
  readonly manifest: Digest;
  readonly layer: Descriptor;
}

/**
 * Reads the statements about one manifest, sorted by attestation manifest and layer: at most LIMITS.attestations with
 * LIMITS.attestationBytes together, provenance before others. What cannot be read is added to `problems`.
 */
export async function readAttestations(
  blobs: LayoutBlobs,
  entries: readonly Descriptor[],
  attested: Digest,
  problems: Problem[],
  signal: AbortSignal,
): Promise<readonly AttestationStatement[]> {
  const attempt = async <T>(subject: Digest, run: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await run();
    } catch (error) {
      if (signal.aborted) throw error;
      const { code, message } = toOutpostError(error);
      problems.push({ code, subject, message });
      return undefined;
    }
  };
  const found: Found[] = [];
  const marked = entries.filter(({ annotations }) =>
    annotations?.["vnd.docker.reference.type"] === "attestation-manifest" &&
    annotations["vnd.docker.reference.digest"] === attested
  );
  for (const entry of marked.slice(0, LIMITS.layersPerImage)) {
    const manifest = await attempt(entry.digest, () => readManifest(blobs, entry, signal));
    for (const layer of manifest?.layers ?? []) {
      if (layer.mediaType === IN_TOTO) found.push({ manifest: entry.digest, layer });
    }
  }
  found.sort((a, b) => compare(a.manifest, b.manifest) || compare(a.layer.digest, b.layer.digest));
  const kept = found.toSorted((a, b) => Number(isProvenance(b)) - Number(isProvenance(a))).slice(
    0,
    LIMITS.attestations,
  );
  const statements: AttestationStatement[] = [];
  let budget = LIMITS.attestationBytes;
  for (const each of kept) {
    const { manifest, layer } = each;
    // Bills of materials are larger than memory should be, and common: leaving one out makes no result partial.
    if (layer.size > budget && !isProvenance(each)) continue;
    const statement = await attempt(layer.digest, () => blobs.json("attestation", layer, budget, signal));
    if (statement === undefined) continue;
    budget -= layer.size;
    statements.push({
      attestedDigest: attested,
      manifestDigest: manifest,
      layerDigest: layer.digest,
      predicateType: announced(layer) ?? predicateTypeOf(statement),
      statement,
    });
  }
  return statements.sort((a, b) =>
    compare(a.manifestDigest, b.manifestDigest) || compare(a.layerDigest, b.layerDigest)
  );
}

function announced({ annotations }: Descriptor): string | undefined {
  return annotations?.["in-toto.io/predicate-type"];
}

/** Without the annotation a statement may be provenance as well. */
function isProvenance({ layer }: Found): boolean {
  return announced(layer)?.startsWith(PROVENANCE) ?? true;
}

function predicateTypeOf(statement: unknown): string {
  return isRecord(statement) && typeof statement.predicateType === "string" ? statement.predicateType : "";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
