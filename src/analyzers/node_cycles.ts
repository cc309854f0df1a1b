/**
 * Cycles of a graph: its strongly connected components (Tarjan 1972), without recursion since graphs may be deep.
 *
 * @module
 */

/**
 * Numbers the packages that are in a cycle; those of one cycle, and of cycles that touch, have the same number. A package
 * that only leads to itself is in a cycle too. Takes time proportional to the edges.
 */
export function cyclesOf<K>(edges: ReadonlyMap<K, readonly K[]>): ReadonlyMap<K, number> {
  const cycles = new Map<K, number>();
  const index = new Map<K, number>();
  const low = new Map<K, number>();
  const open: K[] = [];
  const isOpen = new Set<K>();
  let count = 0;
  const enter = (key: K): { key: K; next: number } => {
    index.set(key, index.size);
    low.set(key, index.size - 1);
    open.push(key);
    isOpen.add(key);
    return { key, next: 0 };
  };
  const lower = (key: K, value: number): void => void low.set(key, Math.min(low.get(key) ?? value, value));
  for (const start of edges.keys()) {
    if (index.has(start)) continue;
    const path = [enter(start)];
    for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
      const { key } = frame;
      const targets = edges.get(key) ?? [];
      const target = targets[frame.next++];
      if (target !== undefined) {
        const seen = index.get(target);
        if (seen === undefined) path.push(enter(target));
        else if (isOpen.has(target)) lower(key, seen);
        continue;
      }
      path.pop();
      const own = low.get(key) ?? 0;
      const parent = path.at(-1);
      if (parent !== undefined) lower(parent.key, own);
      if (own !== index.get(key)) continue;
      const component = open.splice(open.lastIndexOf(key));
      for (const member of component) isOpen.delete(member);
      if (component.length === 1 && !targets.includes(key)) continue;
      for (const member of component) cycles.set(member, count);
      count++;
    }
  }
  return cycles;
}
