/**
 * Package managers that are recognised but whose databases are not read. They hold a row in the table, so that an image
 * that has one is reported as incomplete instead of as empty.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { OsPackages } from "../core/types.ts";
import type { AnalyzerInput, OsAnalyzer } from "./analyzer.ts";

/** A small file that the package manager keeps, and the package manager. */
const MARKERS: Readonly<Record<string, string>> = {
  "var/lib/pacman/local/ALPM_DB_VERSION": "pacman (Arch Linux)",
  "var/lib/portage/world": "Portage (Gentoo)",
  "usr/lib/opkg/status": "opkg (OpenWrt)",
  "lib/opkg/status": "opkg (OpenWrt)",
  "var/lib/opkg/status": "opkg (OpenWrt)",
  "var/lib/rpmmanifest/container-manifest-2": "rpm in the form of a container manifest (Azure Linux)",
  "nix/var/nix/db/schema": "Nix",
};

/** The last row: asked only when no database was found that is read. */
export const UNSUPPORTED: OsAnalyzer = {
  name: "unsupported",
  patterns: [{ paths: Object.keys(MARKERS), maxBytes: LIMITS.smallFileBytes }],
  parse: reportUnsupported,
};

function reportUnsupported({ view, report }: AnalyzerInput): OsPackages | undefined {
  const path = Object.keys(MARKERS).find((marker) => view.file(marker) !== undefined);
  if (path === undefined) return undefined;
  const message = `Cannot read the packages of ${MARKERS[path]}: this package manager is not supported`;
  report({ code: "UNSUPPORTED_IMAGE", subject: path, message });
  return undefined;
}
