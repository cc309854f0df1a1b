/**
 * Strongly connected components (R. Tarjan, "Depth-first search and linear graph algorithms", 1972).
 *
 * @module
 */

/** Components of a graph: `component[node]` is a number below `count`. */
export interface Components {
  readonly component: Int32Array;
  readonly count: number;
}

/**
 * Groups nodes that reach each other. Linear in nodes and edges, and without recursion: a package database of
 * 20,000 packages may be one long chain.
 *
 * @param edges for every node, the nodes it points to
 */
export function components(edges: readonly (readonly number[])[]): Components {
  const component = new Int32Array(edges.length).fill(-1);
  const order = new Int32Array(edges.length);
  const low = new Int32Array(edges.length);
  const waiting: number[] = [];
  const path: { readonly node: number; next: number }[] = [];
  let visited = 0;
  let count = 0;

  const enter = (node: number): void => {
    order[node] = low[node] = ++visited;
    waiting.push(node);
    path.push({ node, next: 0 });
  };
  const leave = (node: number): void => {
    path.pop();
    const parent = path.at(-1)?.node;
    if (parent !== undefined) low[parent] = Math.min(low[parent] ?? 0, low[node] ?? 0);
    if (low[node] !== order[node]) return;
    for (let member = waiting.pop(); member !== undefined; member = member === node ? undefined : waiting.pop()) {
      component[member] = count;
    }
    count++;
  };

  for (let start = 0; start < edges.length; start++) {
    if (order[start] === 0) enter(start);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const target = edges[top.node]?.[top.next++];
      if (target === undefined) leave(top.node);
      else if (order[target] === 0) enter(target);
      else if (component[target] === -1) low[top.node] = Math.min(low[top.node] ?? 0, order[target] ?? 0);
    }
  }
  return { component, count };
}
