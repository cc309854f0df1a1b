/**
 * Users of nats-server by JWT: an operator, an account with JetStream, and users whose credentials files clients log in
 * with, as `nsc` makes them (docs.nats.io, "JWT authentication").
 *
 * @module
 */
import { nkeys } from "@nats-io/transport-node";

type KeyPair = ReturnType<typeof nkeys.createUser>;

/** An operator with one account. */
export interface NatsOperator {
  /** What nats-server's configuration says of them. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Content of a `.creds` file of a new user of the account. */
  user(): string;
}

/** Makes an operator with fresh keys. */
export function createNatsOperator(): NatsOperator {
  const operator = nkeys.createOperator();
  const account = nkeys.createAccount();
  // JetStream speaks to its servers in an account of its own.
  const system = nkeys.createAccount();
  const unlimited = { subs: -1, conn: -1, leaf: -1, imports: -1, exports: -1, data: -1, payload: -1, wildcards: true };
  const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  return {
    config: {
      operator: token(operator, operator, { type: "operator" }),
      resolver: "MEMORY",
      resolver_preload: {
        [account.getPublicKey()]: token(account, operator, { type: "account", limits: { ...unlimited, ...storage } }),
        [system.getPublicKey()]: token(system, operator, { type: "account", limits: unlimited }),
      },
      system_account: system.getPublicKey(),
    },
    user: () => {
      const user = nkeys.createUser();
      const jwt = token(user, account, { type: "user", subs: -1, data: -1, payload: -1 });
      const seed = new TextDecoder().decode(user.getSeed());
      return [
        "-----BEGIN NATS USER JWT-----",
        jwt,
        "------END NATS USER JWT------",
        "",
        "-----BEGIN USER NKEY SEED-----",
        seed,
        "------END USER NKEY SEED------",
        "",
      ].join("\n");
    },
  };
}

/** What `issuer` says of `subject`, signed. */
function token(subject: KeyPair, issuer: KeyPair, nats: Readonly<Record<string, unknown>>): string {
  const claims = {
    jti: crypto.randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name: "outpost",
    nats: { ...nats, version: 2 },
  };
  const encoder = new TextEncoder();
  const part = (value: unknown): string => base64url(encoder.encode(JSON.stringify(value)));
  const signed = `${part({ typ: "JWT", alg: "ed25519-nkey" })}.${part(claims)}`;
  return `${signed}.${base64url(issuer.sign(encoder.encode(signed)))}`;
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
