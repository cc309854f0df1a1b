/**
 * Connections to NATS whose sockets end no process.
 *
 * The client takes all listeners off a socket before it closes it, and while it changes hands. An error that the socket has
 * still to tell then (the other side refused the login or the certificate, or went away) would be nobody's, which ends the
 * process. So sockets are opened here, and keep one listener.
 *
 * @module
 */
import { createConnection, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { connect } from "@nats-io/transport-node";
import { NodeTransport } from "@nats-io/transport-node/lib/node_transport.js";

export { connect };

NodeTransport.prototype.dial = async function ({ port, hostname: host }) {
  const socket = keepListening(createConnection({ port, host }));
  await opened(socket, "connect");
  return socket.setNoDelay(true);
};
NodeTransport.prototype.startTLS = function () {
  return secured(this, { socket: this.socket });
};
NodeTransport.prototype.tlsFirst = function ({ port, hostname: host }) {
  return secured(this, { port, host });
};

/** TLS on a connection that stands, or on one of its own; certificates are checked unless the options say otherwise. */
async function secured(transport: NodeTransport, peer: ConnectionOptions): Promise<TLSSocket> {
  const { tls } = transport.options;
  // cert, key and ca, which servers and clients give alike.
  const certificates: object | undefined = tls ? await transport.loadClientCerts() ?? undefined : undefined;
  const options = { servername: transport.tlsName, rejectUnauthorized: true, ...peer, ...tls, ...certificates };
  const socket = keepListening(connectTls(options));
  await opened(socket, "secureConnect");
  socket.setNoDelay(true);
  return socket;
}

async function opened(socket: Socket, event: "connect" | "secureConnect"): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once(event, resolve).once("error", reject);
  socket.once("close", () => reject(new Error("The connection was closed")));
  try {
    await promise;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    socket.removeAllListeners();
  }
}

function keepListening<T extends Socket>(socket: T): T {
  const { removeAllListeners } = socket;
  const ignore = (): void => {};
  socket.on("error", ignore);
  socket.removeAllListeners = (event) => {
    if (event === undefined) removeAllListeners.call(socket);
    else removeAllListeners.call(socket, event);
    return socket.on("error", ignore);
  };
  return socket;
}
