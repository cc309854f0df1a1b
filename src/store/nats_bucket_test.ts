import { JetStreamApiError } from "@nats-io/jetstream";
import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { makeTogether } from "./nats_bucket.ts";

function refused(code: number): JetStreamApiError {
  return new JetStreamApiError({ code: 400, err_code: code, description: "refused" });
}

describe("makeTogether()", () => {
  it.each([10058, 10065])("asks again while another daemon makes the bucket: %d", async (code) => {
    let asked = 0;
    const make = (): Promise<string> => ++asked < 4 ? Promise.reject(refused(code)) : Promise.resolve("made");
    expect(await makeTogether(make)).toBe("made");
    expect(asked).toBe(4);
  });

  it("gives up at its bound, and at once for any other reason", async () => {
    let asked = 0;
    const refuse = (code: number) => (): Promise<never> => {
      asked++;
      return Promise.reject(refused(code));
    };
    await expect(makeTogether(refuse(10065))).rejects.toMatchObject({ code: 10065 });
    expect(asked).toBe(LIMITS.bucketAttempts);
    await expect(makeTogether(refuse(10074))).rejects.toMatchObject({ code: 10074 });
    expect(asked).toBe(LIMITS.bucketAttempts + 1);
  });
});
