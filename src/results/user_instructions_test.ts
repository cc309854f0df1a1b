import { describe, expect, it } from "vitest";
import type { HistoryEntry } from "../core/types.ts";
import type { TreeNode } from "./dep_tree.ts";
import { attributePackages, excludeBaseImage, labelPackages, userInstructions } from "./user_instructions.ts";

const BASE: HistoryEntry = { created: "2024-01-01T00:00:00Z", created_by: "/bin/sh -c #(nop) ADD file:1 in /" };

function run(created_by: string, more: HistoryEntry = {}): HistoryEntry {
  return { created: "2024-06-01T12:00:00Z", created_by, ...more };
}

function found(...instructions: string[]): Record<string, string> {
  const { dockerfilePackages } = userInstructions([BASE, ...instructions.map((text) => run(text))]);
  return Object.fromEntries(Object.entries(dockerfilePackages).map(([name, each]) => [name, each.installCommand]));
}

function node(name: string, ...below: TreeNode[]): TreeNode {
  return { name, version: "1", dependencies: Object.fromEntries(below.map((each) => [each.name, each])) };
}

describe("userInstructions()", () => {
  it.each<readonly [string, Record<string, string>]>([
    ["/bin/sh -c apt-get install -y curl", { curl: "apt-get install -y curl" }],
    ["/bin/sh -c apt-get -y install curl=7.1", { curl: "apt-get -y install curl=7.1" }],
    ["RUN /bin/sh -c apt-get update && apt-get install  git\tvim; rm x", {
      git: "apt-get install git vim",
      vim: "apt-get install git vim",
    }],
    ["RUN |1 A=b /bin/sh -c apk add --no-cache bash", { bash: "apk add --no-cache bash" }],
    ["apk --update --no-cache add bash", { bash: "apk --update --no-cache add bash" }],
    ["dnf -y --nodocs install a && yum install b", { a: "dnf -y --nodocs install a", b: "yum install b" }],
    ["microdnf --nodocs install a", { a: "microdnf --nodocs install a" }],
    // The plugin's own mistake: microdnf has no --allowerasing in its table, so "dnf" matches inside the word.
    ["microdnf --allowerasing install a", { microa: "Unknown" }],
    ["rpm -i a.rpm", { "a.rpm": "rpm -i a.rpm" }],
    ["rpm --install a.rpm", { "a.rpm": "rpm --install a.rpm" }],
    ["rpm -ivh a.rpm", {}],
    ["aptitude install a", { a: "aptitude install a" }],
    ["apt install $PKG", { PKG: "apt install $PKG" }],
    ["sudo apt-get install a", { sudo: "sudo apt-get install a", a: "sudo apt-get install a" }],
    ["apt-get installation a", {}],
    ["apt-get install", {}],
    ["pip install a", {}],
  ])("reads %s", (instruction, packages) => {
    expect(found(instruction)).toEqual(packages);
  });

  it("keeps the instruction without BuildKit's mark, and its base64 as layer ID", () => {
    const { dockerfileLayers, dockerfilePackages } = userInstructions([BASE, run("apt-get install é # buildkit")]);
    const instruction = "apt-get install é ";
    expect(dockerfilePackages["é"]).toEqual({ instruction, installCommand: "apt-get install é" });
    expect(Object.entries(dockerfileLayers)).toEqual([["YXB0LWdldCBpbnN0YWxsIMOpIA==", { instruction }]]);
  });

  it("reads names that objects have by themselves", () => {
    const { dockerfilePackages } = userInstructions([BASE, run("apt-get install constructor toString __proto__")]);
    expect(Object.keys(dockerfilePackages)).toEqual(["constructor", "toString", "__proto__"]);
    const tree = { valueOf: node("valueOf"), constructor: node("constructor", node("hasOwnProperty")) };
    attributePackages(tree, dockerfilePackages);
    labelPackages(tree, dockerfilePackages);
    expect(tree.valueOf.labels).toBeUndefined();
    expect(Object.keys(dockerfilePackages).at(-1)).toBe("hasOwnProperty");
  });

  it("lets a later instruction take over a package", () => {
    expect(found("apt-get install a", "apk add a")).toEqual({ a: "apk add a" });
  });

  it.each<readonly [string, HistoryEntry[], string[]]>([
    ["no history", [], []],
    ["only entries of one build", [run("apt-get install a"), run("apt-get install b")], []],
    ["entries up to five hours before the last", [
      run("apt-get install old", { created: "2024-06-01T06:59:59Z" }),
      run("apt-get install a", { created: "2024-06-01T07:00:00Z" }),
      run("apt-get install b"),
    ], ["a", "b"]],
    ["no entry when the last has no readable time", [BASE, run("apt-get install a"), { created: "never" }], []],
    ["no empty layers", [BASE, run("apt-get install a", { empty_layer: true }), run("apt-get install b")], ["b"]],
    ["no entries without a command", [BASE, { created: "2024-06-01T12:00:00Z" }], []],
  ])("reads %s", (_name, history, names) => {
    expect(Object.keys(userInstructions(history).dockerfilePackages)).toEqual(names);
  });
});

describe("attributePackages()", () => {
  it("labels installed packages and all that came with them", () => {
    const { dockerfilePackages } = userInstructions([BASE, run("apt-get install curl")]);
    const libcurl = node("curl-src/libcurl", node("openssl/libssl"));
    const tree = { "curl": node("curl", libcurl), "base": node("base"), "openssl/openssl": node("openssl/openssl") };
    attributePackages(tree, dockerfilePackages);
    labelPackages(tree, dockerfilePackages);
    expect(Object.keys(dockerfilePackages)).toEqual(["curl", "curl-src", "openssl"]);
    const labels = { dockerLayerId: "YXB0LWdldCBpbnN0YWxsIGN1cmw=" };
    expect(tree.curl.labels).toEqual(labels);
    expect(libcurl.labels).toEqual(labels);
    expect(libcurl.dependencies["openssl/libssl"]?.labels).toEqual(labels);
    // By source name: a package of the base image from the same source is attributed too, as the plugin does.
    expect(tree["openssl/openssl"].labels).toEqual(labels);
    expect(tree.base.labels).toBeUndefined();
  });

  it("matches the full name before the source", () => {
    const one = { instruction: "one", installCommand: "" };
    const two = { instruction: "two", installCommand: "" };
    const tree = { "s/a": node("s/a"), "s/b": node("s/b") };
    labelPackages(tree, { "s/a": one, "s": two });
    expect(tree["s/a"].labels).toEqual({ dockerLayerId: "b25l" });
    expect(tree["s/b"].labels).toEqual({ dockerLayerId: "dHdv" });
  });

  it("takes away what came with the base image, by full name or source", () => {
    const one = { instruction: "one", installCommand: "" };
    const tree = { "s/a": node("s/a"), "t/b": node("t/b"), "c": node("c"), "t/d": node("t/d"), "e": node("e") };
    excludeBaseImage(tree, { "s/a": one, "t": one, "c": one });
    expect(Object.keys(tree)).toEqual(["s/a", "t/b", "c", "t/d"]);
    excludeBaseImage(tree, {});
    expect(tree).toEqual({});
  });

  it("labels nothing when nothing was installed", () => {
    const tree = { a: node("a") };
    attributePackages(tree, {});
    labelPackages(tree, {});
    expect(tree.a.labels).toBeUndefined();
  });
});
