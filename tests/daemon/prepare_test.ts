import { expect, it, vi } from "vitest";
import { startDaemon } from "../../src/daemon.ts";
import { idleParts } from "../fakes/daemon_parts.ts";
import { freePort } from "../peers/process.ts";

it("loads what scans need before it listens, and starts when that fails", async () => {
  const port = freePort();
  let answered: boolean | undefined;
  const prepareScans = async (): Promise<void> => {
    answered = await Deno.connect({ hostname: "127.0.0.1", port }).then((open) => (open.close(), true), () => false);
    throw new Error("not yet");
  };
  const daemon = await startDaemon(
    await idleParts({ OUTPOST_ROLE: "agent", PORT: String(port) }, { prepareScans }),
  );
  expect(answered).toBe(false);
  const response = await fetch(`http://127.0.0.1:${port}/livez`);
  await response.body?.cancel();
  expect(response.status).toBe(200);
  await daemon.stop();
});

it("loads nothing where nothing is scanned", async () => {
  const prepareScans = vi.fn(() => Promise.resolve());
  const env = {
    OUTPOST_ROLE: "broker",
    BROKER_TOKEN: "77777777-2222-4333-8444-555555555555",
    CR_AGENT_URL: "http://127.0.0.1:9",
    PREFLIGHT_CHECKS_ENABLED: "false",
  };
  const daemon = await startDaemon(await idleParts(env, { prepareScans }));
  expect(prepareScans).not.toHaveBeenCalled();
  await daemon.stop();
});
