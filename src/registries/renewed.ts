/**
 * Short-lived secrets that a vendor gives in exchange for a lasting one: fetched when needed, kept until shortly before
 * they expire, and fetched only once however many requests wait for them.
 *
 * @module
 */
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../core/ports.ts";
import { abortable, cancelled } from "../net/body.ts";

/** A fetched value and how long it may be used, in milliseconds from the moment it was asked for. */
export interface Fetched<T> {
  readonly value: T;
  readonly lifetimeMs: number;
}

/** What {@link Renewed} needs. */
export interface RenewedOptions<T> {
  readonly clock: Clock;
  /** Aborts at the end of the owner (`FlavourContext.closed`). */
  readonly closed: AbortSignal;
  /** Fetches a new value. The signal is `closed`: the exchange belongs to no single caller. */
  readonly exchange: (signal: AbortSignal) => Promise<Fetched<T>>;
}

/** One value that is renewed at four fifths of its life, and when the other side no longer takes it. */
export class Renewed<T> {
  readonly #options: RenewedOptions<T>;
  #kept: { readonly value: T; readonly renewAt: number } | undefined;
  #flight: Promise<T> | undefined;

  constructor(options: RenewedOptions<T>) {
    this.#options = options;
  }

  /**
   * The value.
   *
   * @param stale A value that was refused: the same one is not given again.
   * @throws {OutpostError} what the exchange throws; CANCELLED.
   */
  async get(signal: AbortSignal, stale?: T): Promise<T> {
    const kept = this.#kept;
    if (kept !== undefined && kept.value !== stale && kept.renewAt > this.#options.clock.now()) return kept.value;
    this.#flight ??= this.#depart();
    return await abortable(this.#flight, signal).catch((error: unknown) => {
      throw signal.aborted ? cancelled(signal) : error;
    });
  }

  #depart(): Promise<T> {
    const { clock, closed, exchange } = this.#options;
    const asked = clock.now();
    const renew = async (): Promise<T> => {
      const { value, lifetimeMs } = await exchange(closed);
      const usable = Math.max(0, Math.min(lifetimeMs * 0.8, lifetimeMs - LIMITS.tokenMarginMs));
      this.#kept = { value, renewAt: asked + usable };
      return value;
    };
    return renew().finally(() => this.#flight = undefined);
  }
}
