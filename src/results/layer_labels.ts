/**
 * The labels and warnings of snyk-docker-plugin's option `layer-attribution`: `dockerLayerDiffId` on every node of the
 * graph whose package is known to have come with a layer (scan-semantics §5).
 *
 * @module
 */
import type { LayerAttribution, OsPackage } from "../core/types.ts";
import type { TreeNode, TreeNodes } from "./dep_tree.ts";
import { fullName } from "./package_index.ts";

/** Labels the tree. Packages of one name and version are one: the last of the database decides. */
export function labelLayers(tree: TreeNodes, packages: readonly OsPackage[], attribution: LayerAttribution): void {
  const diffIds = new Map<string, string>();
  packages.forEach((entry, position) => {
    const diffId = attribution.layers[attribution.os[position] ?? -1]?.diffId;
    if (diffId !== undefined) diffIds.set(`${fullName(entry)}@${entry.version}`, diffId);
  });
  const waiting: TreeNode[] = Object.values(tree);
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    // Leaves are shared: one that has its label has been here.
    if (node.labels?.["dockerLayerDiffId"] !== undefined) continue;
    const diffId = diffIds.get(`${node.name}@${node.version}`);
    if (diffId !== undefined) node.labels = { ...node.labels, dockerLayerDiffId: diffId };
    for (const child of Object.values(node.dependencies)) waiting.push(child);
  }
}
