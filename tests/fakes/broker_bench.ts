/**
 * A broker client whose sockets, time, agent and uploads belong to the test.
 *
 * @module
 */
import {
  type BrokerClient,
  type BrokerClientOptions,
  type BrokerEvent,
  createBrokerClient,
} from "../../src/broker/mod.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { FakeClock } from "./clock.ts";
import { RecordingLogger } from "./logger.ts";
import { FakeWebSocket } from "./web_socket.ts";

const TOKEN = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

/** The request id of {@link ask}'s requests. */
export const REQUEST_ID = "11111111-1111-4111-8111-111111111111";

/** An answer that the client uploaded. */
export interface Uploaded {
  /** The stream's id. */
  readonly id: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly errorType?: string;
  readonly body: string;
}

/** A started client and everything around it. */
export interface BrokerBench {
  readonly client: BrokerClient;
  readonly clock: FakeClock;
  readonly logger: RecordingLogger;
  /** Websockets that the client opened, primary first. */
  readonly sockets: FakeWebSocket[];
  readonly events: BrokerEvent[];
  readonly uploads: Uploaded[];
  /** Most uploads at once. */
  peak: number;
  /** The first websocket of the primary role. */
  primary(): FakeWebSocket;
}

const made: BrokerBench[] = [];

/** Starts a client; `dispatch` is the agent. {@link closeBrokerBenches} ends it. */
export function brokerBench(
  dispatch: BrokerClientOptions["dispatch"],
  options: Partial<BrokerClientOptions> = {},
): BrokerBench {
  const clock = new FakeClock();
  const logger = new RecordingLogger();
  const sockets: FakeWebSocket[] = [];
  const events: BrokerEvent[] = [];
  const uploads: Uploaded[] = [];
  let uploading = 0;
  const client = createBrokerClient({
    serverUrl: "http://broker.example",
    token: TOKEN,
    protocolVersion: "5.22.14",
    clock,
    logger,
    randomId: () => "22222222-2222-4222-8222-222222222222",
    webSocket: (url, init) => {
      const socket = new FakeWebSocket(url, init);
      sockets.push(socket);
      return socket;
    },
    fetch: async (request) => {
      self.peak = Math.max(self.peak, ++uploading);
      uploads.push(await readUpload(request));
      uploading--;
      return Response.json({});
    },
    dispatch,
    variables: () => undefined,
    onEvent: (event) => events.push(event),
    ...options,
  });
  client.start();
  const primary = (): FakeWebSocket => {
    const [first] = sockets;
    if (first === undefined) throw new Error("The client has opened no websocket");
    return first;
  };
  const self: BrokerBench = { client, clock, logger, sockets, events, uploads, peak: 0, primary };
  made.push(self);
  return self;
}

async function readUpload(request: Request): Promise<Uploaded> {
  const bytes = new Uint8Array(await request.arrayBuffer());
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  const id = new URL(request.url).pathname.split("/").at(-1) ?? "";
  return { id, ...head, body: new TextDecoder().decode(bytes.subarray(4 + size)) };
}

/** The server sends a request: GET /list, unless `argument` says otherwise; with `id` it wants an acknowledgement. */
export function ask(socket: FakeWebSocket, argument: Readonly<Record<string, unknown>>, id?: number): void {
  const request = { url: "/list", method: "GET", headers: {}, streamingID: "s1", requestId: REQUEST_ID, ...argument };
  socket.receive({ kind: "event", name: "request", args: [request], ...(id === undefined ? {} : { id }) });
}

/** Ends every client of this test. */
export async function closeBrokerBenches(): Promise<void> {
  for (const { client, clock } of made.splice(0)) {
    const closing = client.close(AbortSignal.abort());
    await clock.advance(LIMITS.brokerCloseMs);
    await closing;
  }
}

/** The value once it is there: lets promise continuations run in between. */
export async function eventually<T>(look: () => readonly T[] | undefined): Promise<readonly T[]> {
  for (;;) {
    const found = look();
    if (found !== undefined && found.length > 0) return found;
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
