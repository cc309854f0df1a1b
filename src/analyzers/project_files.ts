/**
 * Applications that are a manifest and a lock file in one directory.
 *
 * @module
 */

/** A file with its place in the image: kept whole or read by an extractor. */
export interface PlacedFile {
  readonly path: string;
  readonly layer: number;
  readonly position?: number | undefined;
}

/** The two files of an application. */
export interface FilePair<Manifest, Lock> {
  readonly manifest: Manifest;
  readonly lock: Lock;
}

/** Pairs of a manifest and a lock file in one directory, in the order in which the first of the two is met. */
export function pairedFiles<Manifest extends PlacedFile, Lock extends PlacedFile>(
  manifests: readonly Manifest[],
  locks: readonly Lock[],
): FilePair<Manifest, Lock>[] {
  const manifestIn = new Map(manifests.map((file) => [directoryOf(file), file]));
  return locks.flatMap((lock) => {
    const manifest = manifestIn.get(directoryOf(lock));
    return manifest === undefined ? [] : [{ manifest, lock }];
  }).sort((a, b) => inPluginsOrder(first(a), first(b)));
}

function first({ manifest, lock }: FilePair<PlacedFile, PlacedFile>): PlacedFile {
  return inPluginsOrder(manifest, lock) <= 0 ? manifest : lock;
}

function inPluginsOrder(a: PlacedFile, b: PlacedFile): number {
  return b.layer - a.layer || (a.position ?? 0) - (b.position ?? 0);
}

function directoryOf({ path }: PlacedFile): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
