/**
 * An accepted request, and its form in the store.
 *
 * @module
 */
import type { Digest } from "../core/digest.ts";
import type { RegistryCredentials } from "../core/ports.ts";
import type { AnalysisOptions, Platform } from "../core/types.ts";
import type { CallbackPaths } from "./callback_paths.ts";

/** One image of a request. */
export interface ScanTarget {
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
  readonly platform: Platform | undefined;
  /** What is looked at. */
  readonly analysis?: AnalysisOptions | undefined;
  /** The image's own fields of the request, carried to its callback unchanged. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A request as it is kept: no credential is in it. */
export interface StoredRequest {
  readonly targets: readonly ScanTarget[];
  readonly callbacks: CallbackPaths;
  /** The request's own fields, carried to every callback unchanged; never a credential. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** The connection that the request came by, where this process has several: its callbacks leave by the same. */
  readonly connection?: string | undefined;
}

/** An accepted request. */
export interface ScanJob extends StoredRequest {
  readonly id: string;
  readonly kind: "scan" | "discover";
  readonly credentials: RegistryCredentials;
  /** Correlates log lines and callbacks with the request. A second request with the same one and the same content is the first. */
  readonly requestId: string;
}

/** The request as JSON. */
export function encodeRequest({ targets, callbacks, fields, connection }: StoredRequest): string {
  return JSON.stringify({ targets, callbacks, fields, connection });
}

/** Reads what {@link encodeRequest} wrote. */
export function decodeRequest(text: string): StoredRequest {
  return JSON.parse(text) as StoredRequest;
}

/** The name under which Snyk files the image: repository with tag, or with digest when there is no tag. */
export function targetName(target: ScanTarget): string {
  if (target.tag !== undefined) return `${target.repository}:${target.tag}`;
  return target.digest === undefined ? `${target.repository}:latest` : `${target.repository}@${target.digest}`;
}
