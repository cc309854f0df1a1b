/**
 * The accept rules that are in force, and how they are replaced: every LIMITS.brokerRuleReloadMs and on demand
 * (broker-protocol.md §4).
 *
 * @module
 */
import { OutpostError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock, Logger } from "../core/ports.ts";
import type { RuleSource } from "./rule_source.ts";
import { AcceptRules, DEFAULT_RULES, type RuleFile } from "./rules.ts";

/** Options of {@link LiveRules}. */
export interface LiveRulesOptions {
  /** A parsed accept file; Snyk's rules for the container registry agent by default. */
  readonly rules?: unknown;
  /** Where they are read anew; without it they never change. */
  readonly source?: RuleSource | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Rules that can be replaced while requests run; a request keeps the rules that it began with. */
export class LiveRules {
  readonly #options: LiveRulesOptions;
  #current: AcceptRules;
  #reloading: Promise<RuleFile> | undefined;

  /** @throws {ConfigError} when a rule cannot be used. */
  constructor(options: LiveRulesOptions) {
    this.#options = options;
    this.#current = AcceptRules.from(options.rules === undefined ? DEFAULT_RULES : options.rules);
  }

  /** The rules in force. */
  get current(): AcceptRules {
    return this.#current;
  }

  /**
   * Reads the rules anew; calls at the same time share one reading. The old ones stay when it fails.
   *
   * @throws {ConfigError} naming what is wrong with the new rules; TIMEOUT; the signal's reason when it aborts.
   */
  reload(signal: AbortSignal): Promise<RuleFile> {
    return this.#reloading ??= this.#reload(signal).finally(() => this.#reloading = undefined);
  }

  async #reload(signal: AbortSignal): Promise<RuleFile> {
    const { source, logger } = this.#options;
    if (source === undefined) return this.#current.file;
    this.#current = AcceptRules.from(await source(signal));
    const { file } = this.#current;
    logger.info("Loaded the accept rules", { public: file.public.length, private: file.private.length });
    return file;
  }

  /** Reloads day by day until the signal aborts. Never rejects. */
  async reloadDaily(signal: AbortSignal): Promise<void> {
    const { source, clock, logger } = this.#options;
    if (source === undefined) return;
    while (!signal.aborted) {
      try {
        await clock.sleep(LIMITS.brokerRuleReloadMs, signal);
        await this.reload(signal);
      } catch (error) {
        if (signal.aborted) return;
        const reason = error instanceof OutpostError ? error.message : "they cannot be read";
        logger.error("Cannot reload the accept rules; the old ones stay", { reason });
      }
    }
  }
}
