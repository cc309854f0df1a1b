import { describe, expect, it } from "vitest";
import { IMAGE_FIELDS, SCAN_REQUEST } from "./contract.ts";
import { SCAN_BODY } from "./openapi.ts";

describe("SCAN_BODY", () => {
  it("names the fields that the contract reads", () => {
    expect(Object.keys(SCAN_BODY.properties).toSorted()).toEqual(Object.keys(SCAN_REQUEST.shape).toSorted());
    expect(Object.keys(SCAN_BODY.properties.images.items.properties).toSorted()).toEqual(
      Object.keys(IMAGE_FIELDS.shape).toSorted(),
    );
  });
});
