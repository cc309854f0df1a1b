/**
 * How a job remembers its credentials. Those of the configuration are only named, so that a password is never on disk and
 * a new one is used at once; those that a request brought are sealed, and forgotten with the job's last image.
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import type { RegistryCredentials } from "../core/ports.ts";

/** First byte of a mark for the configured credentials, and of sealed ones. */
const CONFIGURED = 0;
const SEALED = 1;
/** AES-GCM's nonce (NIST SP 800-38D §8.2). */
const NONCE_BYTES = 12;

/** What {@link CredentialBox} works with. */
export interface CredentialBoxOptions {
  /** The configured credentials: those of the connection, where there are several. */
  readonly own: (connection: string | undefined) => RegistryCredentials | undefined;
  /** The key, 32 random bytes; asked for once, when something is sealed or opened. */
  readonly key: () => Promise<Uint8Array<ArrayBuffer>>;
}

/** Seals and opens credentials. */
export class CredentialBox {
  readonly #options: CredentialBoxOptions;
  #key: Promise<CryptoKey> | undefined;

  constructor(options: CredentialBoxOptions) {
    this.#options = options;
  }

  /** The form in which a job keeps credentials. */
  async seal(credentials: RegistryCredentials, connection: string | undefined): Promise<Uint8Array<ArrayBuffer>> {
    const own = this.#options.own(connection);
    if (own !== undefined && text(own) === text(credentials)) return new Uint8Array([CONFIGURED]);
    const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const plain = new TextEncoder().encode(text(credentials));
    const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, await this.#loadKey(), plain));
    const whole = new Uint8Array(1 + NONCE_BYTES + sealed.length);
    whole[0] = SEALED;
    whole.set(iv, 1);
    whole.set(sealed, 1 + NONCE_BYTES);
    return whole;
  }

  /**
   * The credentials that {@link seal} was given, or the configured ones as they are now.
   *
   * @throws {OutpostError} CREDENTIALS_INVALID when they are gone: the configuration has none (a connection may not be
   * there yet, so it may be tried again), or the key is another. What `key` throws, when that cannot be had now.
   */
  async open(kept: Uint8Array, connection: string | undefined): Promise<RegistryCredentials> {
    if (kept[0] === CONFIGURED) {
      const own = this.#options.own(connection);
      if (own !== undefined) return own;
      throw new OutpostError(
        "CREDENTIALS_INVALID",
        "Cannot scan: the credentials that the request was accepted with are configured no more",
        { hint: "Set CR_TYPE, CR_BASE, CR_USERNAME and CR_PASSWORD, or the connection.", retryable: true },
      );
    }
    // A key that cannot be read now may be read later: that says nothing of the credentials.
    const key = await this.#loadKey();
    try {
      const iv = kept.slice(1, 1 + NONCE_BYTES);
      const sealed = kept.slice(1 + NONCE_BYTES);
      const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed);
      return JSON.parse(new TextDecoder().decode(plain)) as RegistryCredentials;
    } catch (cause) {
      throw new OutpostError("CREDENTIALS_INVALID", "Cannot scan: the request's credentials cannot be opened again", {
        hint:
          "Ask for the scan again. The key in the data directory was changed, or the daemons of a queue have different ones (OUTPOST_QUEUE_KEY, BROKER_TOKEN).",
        cause,
      });
    }
  }

  async #loadKey(): Promise<CryptoKey> {
    const key = this.#key ??= this.#options.key().then((bytes) =>
      crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"])
    );
    try {
      return await key;
    } catch (error) {
      if (this.#key === key) this.#key = undefined;
      throw error;
    }
  }
}

/** The same text for the same credentials. */
function text(credentials: RegistryCredentials): string {
  return JSON.stringify(Object.fromEntries(Object.entries(credentials).toSorted(([a], [b]) => a < b ? -1 : 1)));
}
