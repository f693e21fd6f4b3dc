import { randomUUID } from 'node:crypto';
import { isFor, type RegistryLogin } from '../domain/registry-login.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import type { EngineClient } from './engine-client.ts';
import { type GrpcMethod, grpcStatus, serveGrpc } from './grpc.ts';
import { readFields, writeField } from './protobuf.ts';

const openingTimeoutMs = 10_000;

export type SessionOffer = {
  secrets: Readonly<Record<string, string>>;
  credentials: RegistryLogin | undefined;
};

/** A line to BuildKit over which it asks, while it builds, for what must not be in the build itself. */
export type BuildSession = {
  /** A build that names it may ask. */
  id: string;
  /** Secrets that were asked for and are not there. */
  missing: ReadonlySet<string>;
  /** Why it could not be opened. A build that never asks for anything does not mind. */
  failure: () => unknown;
  [Symbol.dispose]: () => void;
};

/**
 * Opens beside the build instead of before it: BuildKit waits some seconds for a session that it needs. It needs one
 * for every image it pulls, since it asks for credentials as soon as a registry has tokens, which Docker Hub has even
 * for public images.
 */
export function openBuildSession(client: EngineClient, offer: SessionOffer): BuildSession {
  const id = randomUUID();
  const missing = new Set<string>();
  const closing = new AbortController();
  let failure: unknown;

  const methods = new Map<string, GrpcMethod>([
    // The engine asks every few seconds, and drops a session that does not say it is well.
    ['/grpc.health.v1.Health/Check', () => ({ message: Uint8Array.of(0x08, 0x01) })],
    ['/moby.buildkit.secrets.v1.Secrets/GetSecret', giveSecret(offer.secrets, missing)],
    ['/moby.filesync.v1.Auth/Credentials', giveCredentials(offer.credentials)],
  ]);
  const upgraded = client.upgrade('opening a build session', {
    path: '/session',
    protocol: 'h2c',
    headers: {
      'X-Docker-Expose-Session-Uuid': id,
      'X-Docker-Expose-Session-Name': 'gantry',
      'X-Docker-Expose-Session-Grpc-Method': [...methods.keys()],
    },
    signal: AbortSignal.any([closing.signal, timeoutSignal(openingTimeoutMs)]),
  });
  upgraded
    .then((socket) => {
      closing.signal.addEventListener('abort', () => socket.destroy());
      if (closing.signal.aborted) socket.destroy();
      else serveGrpc(socket, methods);
    })
    .catch((error: unknown) => {
      failure = error;
    });
  return { id, missing, failure: () => failure, [Symbol.dispose]: () => closing.abort() };
}

function giveSecret(secrets: Readonly<Record<string, string>>, missing: Set<string>): GrpcMethod {
  return (request) => {
    const name = firstText(request);
    const value = Object.hasOwn(secrets, name) ? secrets[name] : undefined;
    if (value !== undefined) return { message: writeField(1, Buffer.from(value)) };
    missing.add(name);
    return { status: grpcStatus.notFound, reason: 'no such variable' };
  };
}

/** BuildKit asks for every registry a FROM names, also for one that only wants to see what it is given. */
function giveCredentials(credentials: RegistryLogin | undefined): GrpcMethod {
  return (request) => {
    if (credentials === undefined || !isFor(credentials, firstText(request)))
      return { message: new Uint8Array() };
    const { username, password } = credentials;
    return {
      message: Buffer.concat([writeField(1, Buffer.from(username)), writeField(2, Buffer.from(password))]),
    };
  };
}

/** Both requests have what they are about in field 1. */
function firstText(message: Uint8Array): string {
  for (const { number, value } of readFields(message)) {
    if (number === 1 && typeof value !== 'bigint') return Buffer.from(value).toString('utf8');
  }
  return '';
}
