import { describe, expect, it } from "vitest";
import type { RegistryCredentials } from "../core/ports.ts";
import { isSameRegistry } from "./mod.ts";

const oci = (base: string, type = "oci"): RegistryCredentials => ({ type, base, username: "u", password: "p" });
const ecr = (roleArn: string, region = "eu-west-1"): RegistryCredentials => ({
  type: "ecr",
  base: "",
  roleArn,
  region,
});

describe("isSameRegistry()", () => {
  it.each<readonly [RegistryCredentials, RegistryCredentials, boolean]>([
    [oci("r.example"), oci("https://R.example:443/v2/"), true],
    [oci("r.example"), { ...oci("r.example/team", "harbor-cr"), username: "other" }, true],
    [oci("r.example"), oci("http://r.example"), false],
    [oci("r.example"), oci("r.example:8443"), false],
    [oci("r.example"), oci("r.example.evil"), false],
    [oci("r.example"), oci("r.example@evil"), false],
    [oci("", "docker-hub"), oci("docker.io", "DockerHub"), true],
    [oci("", "docker-hub"), oci("evil.example", "docker-hub"), false],
    [oci("r.example"), oci("r.example", "no-such-type"), false],
    [oci(""), oci(""), false],
    [ecr("arn:1"), ecr("arn:1"), true],
    [ecr("arn:1"), ecr("arn:2"), false],
    [ecr("arn:1"), ecr("arn:1", "us-east-1"), false],
    [ecr("arn:1"), oci("r.example"), false],
  ])("%j and %j: %j", (one, other, same) => {
    expect(isSameRegistry(one, other)).toBe(same);
    expect(isSameRegistry(other, one)).toBe(same);
  });
});
