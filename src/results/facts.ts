/**
 * Facts that repeat an image's configuration (scan-semantics §1.1 and §1.3).
 *
 * @module
 */
import type { ScanFact } from "../core/scan_ports.ts";
import type { ContainerConfig, HistoryEntry, ImageConfig } from "../core/types.ts";

/** A fact, or nothing when the plugin would leave it out. */
export function fact(type: string, data: unknown, present: unknown = data): readonly ScanFact[] {
  return present ? [{ type, data }] : [];
}

/** imageLabels, containerConfig, history, imageCreationTime and rootFs, in this order. */
export function configFacts({ config, history, created, rootfs }: ImageConfig): readonly ScanFact[] {
  const diffIds = rootfs?.diff_ids;
  return [
    ...fact("imageLabels", config?.Labels),
    ...fact("containerConfig", config && containerConfig(config), config),
    ...fact("history", history?.map(historyEntry), history?.length),
    ...fact("imageCreationTime", created),
    ...fact("rootFs", diffIds, Array.isArray(diffIds) && diffIds.length > 0),
  ];
}

/** Keys that the configuration has, null included; a map of ports or volumes becomes the list of its keys. */
function containerConfig(config: ContainerConfig): Readonly<Record<string, unknown>> {
  return defined({
    user: config.User,
    exposedPorts: keys(config.ExposedPorts),
    env: config.Env,
    entrypoint: config.Entrypoint,
    cmd: config.Cmd,
    volumes: keys(config.Volumes),
    workingDir: config.WorkingDir,
    stopSignal: config.StopSignal,
    argsEscaped: config.ArgsEscaped,
  });
}

function historyEntry(entry: HistoryEntry): Readonly<Record<string, unknown>> {
  return defined({
    created: entry.created,
    author: entry.author,
    createdBy: entry.created_by,
    comment: entry.comment,
    emptyLayer: entry.empty_layer,
  });
}

function keys(map: Readonly<Record<string, unknown>> | null | undefined): string[] | null | undefined {
  return map === undefined ? undefined : map ? Object.keys(map) : null;
}

function defined(record: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
