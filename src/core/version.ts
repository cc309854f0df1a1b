/**
 * Versions that this process announces.
 *
 * @module
 */

/** Version of Outpost; the same as deno.json's. */
export const VERSION = "0.1.0";

/**
 * Version of Snyk's broker client whose protocol is spoken. The broker server decides by it whether a client may connect
 * (broker-protocol §1.5), so it is a version of that client and not of Outpost.
 */
export const BROKER_PROTOCOL_VERSION = "5.22.14";
