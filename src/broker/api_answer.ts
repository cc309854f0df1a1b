/**
 * Answers of Snyk's API, read within bounds.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { parseBoundedJson } from "./codec.ts";

/**
 * Reads an answer's JSON.
 *
 * @param action what failed, for the message: `Cannot get an access token`.
 * @throws {OutpostError} BROKER_REFUSED when it has more than LIMITS.brokerApiBytes or is not JSON.
 */
export async function readApiJson(response: Response, action: string): Promise<unknown> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > LIMITS.brokerApiBytes) {
      throw new OutpostError("BROKER_REFUSED", `${action}: the answer is too long`);
    }
  }
  const parsed = parseBoundedJson(text);
  if (!parsed.ok) throw new OutpostError("BROKER_REFUSED", `${action}: the answer is not JSON`);
  return parsed.value;
}
