/**
 * What the conformance suite works on: a running front, its repositories, and registries opened on it.
 *
 * @module
 */
import { LIMITS } from "../../src/core/limits.ts";
import type { Registry, RegistryCredentials } from "../../src/core/ports.ts";
import { buildImage, buildIndex } from "../../src/lib/oci_builder.ts";
import { createRegistryProvider } from "../../src/registries/mod.ts";
import { BackoffClock } from "../fakes/clock.ts";
import { RecordingLogger } from "../fakes/logger.ts";
import { type Front, type FrontDefinition, startFront } from "./front.ts";

/** Incompressible enough that a layer can break in the middle: 200 kB of digits that look random. */
function noise(): string {
  let state = 1;
  const digits: string[] = [];
  for (let at = 0; at < 50_000; at++) {
    state = (state * 48_271) % 2_147_483_647;
    digits.push(state.toString(36).slice(-4));
  }
  return digits.join("");
}

const oci = buildImage({ layers: [{ members: [{ path: "noise", content: noise() }] }] });
const docker = buildImage({ layers: [{ members: [{ path: "etc/a", content: "1" }] }], mediaTypes: "docker" });
const arm64 = buildImage({
  layers: [{ members: [{ path: "etc/c", content: "3" }] }],
  platform: { os: "linux", architecture: "arm64", variant: "v8" },
});
const index = buildIndex([oci, arm64]);

/** The images that every front holds in its first repository, by tag. */
export const IMAGES = { oci, docker, index } as const;

/** A {@link BackoffClock} that a test may move. */
export class SuiteClock extends BackoffClock {
  #skipped = 0;

  constructor() {
    super([LIMITS.responseTimeoutMs, LIMITS.noProgressMs]);
  }

  override now(): number {
    return super.now() + this.#skipped;
  }

  /** Moves time forward; nothing wakes up. */
  skip(ms: number): void {
    this.#skipped += ms;
  }
}

/** A front with the suite's images, and the means to open it. Members are bound, so that tests may take them apart. */
export class Subject {
  readonly front: Front;
  readonly repository: (at: number) => string;
  readonly wrong: Partial<RegistryCredentials>;
  /** The site whose answers hold the bytes of blobs. */
  readonly blobSite: string;
  clock = new SuiteClock();
  readonly logger = new RecordingLogger();
  #close: () => void = () => {};

  private constructor(front: Front) {
    const { definition } = front;
    this.front = front;
    this.repository = (at) => definition.repository(at);
    this.blobSite = definition.blobs === "redirect" ? "sink" : "registry";
    this.wrong = definition.wrong ?? { password: "canary-wrong-password" };
  }

  /** Starts a front. */
  static async start(definition: FrontDefinition): Promise<Subject> {
    return new Subject(await startFront(definition));
  }

  /** A new test: no faults, the suite's images, a client without memory. */
  begin(): void {
    const { front } = this;
    this.#close();
    front.reset();
    front.library.clear();
    front.library.put(this.stored(this.repository(0)), IMAGES);
    this.clock = new SuiteClock();
    const registries = createRegistryProvider({
      transport: front.transport(),
      clock: this.clock,
      logger: this.logger,
      options: front.definition.options ?? {},
    });
    this.#close = () => registries.close();
    this.open = (overrides = {}) => registries.open({ ...front.definition.credentials, ...overrides });
  }

  /** Opens the registry with the right credentials, some of them replaced. */
  open: (overrides?: Partial<RegistryCredentials>) => Registry = () => {
    throw new Error("begin() comes first");
  };

  /** A repository's name in docker-registry's storage. */
  readonly stored = (name: string): string => this.front.definition.stored?.(name) ?? name;

  /** Makes the library hold exactly so many repositories, without tags but for the first; gives their names. */
  readonly holds = (count: number): readonly string[] => {
    const names = Array.from({ length: count }, (_, at) => this.repository(at));
    this.front.library.clear();
    for (const name of names) this.front.library.put(this.stored(name), name === this.repository(0) ? IMAGES : {});
    return names;
  };

  /** Gives the second repository further tags. */
  readonly tagged = (tags: readonly string[]): void => {
    const content = Object.fromEntries(tags.map((tag) => [tag, IMAGES.docker]));
    this.front.library.put(this.stored(this.repository(1)), content);
  };

  async stop(): Promise<void> {
    this.#close();
    await this.front.stop();
  }
}

/** Runs one test on a front of its own, with the suite's images in it. */
export async function withSubject(
  definition: FrontDefinition,
  test: (subject: Subject) => Promise<void>,
): Promise<void> {
  const subject = await Subject.start(definition);
  try {
    subject.begin();
    await test(subject);
  } finally {
    await subject.stop();
  }
}
