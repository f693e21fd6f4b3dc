import { dockerHub, type RegistryLogin } from '../domain/registry-login.ts';
import type { LoginResult } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { refusalOf } from './engine-refusal.ts';

/** The engine itself gives up on a registry that does not answer after 15 s, which it may try more than once. */
const loginTimeoutMs = 60_000;

/** Asks the registry, through the engine, whether it takes the login. */
export async function checkLogin(
  client: EngineClient,
  { host, username, password }: RegistryLogin,
  signal: AbortSignal,
): Promise<LoginResult> {
  signal.throwIfAborted();
  try {
    await client.call(
      'logging in to a registry',
      (docker, deadline) =>
        docker.checkAuth({
          username,
          password,
          serveraddress: serverAddress(host),
          abortSignal: AbortSignal.any([signal, deadline]),
        }),
      loginTimeoutMs,
    );
    return { ok: true };
  } catch (error) {
    signal.throwIfAborted();
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    // The engine says 500 for whatever it was told by the registry.
    const isWrong = /\b401\b|unauthorized|incorrect username or password/i.test(refusal.message);
    return { ok: false, reason: isWrong ? 'wrong user name or password' : refusal.message };
  }
}

/** What the legacy builder is told of the one registry; it gives it to no other. docker-modem's own is not URL-safe. */
export function registryConfig({ host, username, password }: RegistryLogin): Record<string, string> {
  const config = JSON.stringify({ [serverAddress(host)]: { username, password } });
  return { 'X-Registry-Config': urlSafe(config) };
}

/** What the engine gives the one registry it asks for an image; anybody may ask without. */
export function registryAuth(login: RegistryLogin | undefined): Record<string, string> {
  if (login === undefined) return {};
  const { host, username, password } = login;
  const config = JSON.stringify({ username, password, serveraddress: serverAddress(host) });
  return { 'X-Registry-Auth': urlSafe(config) };
}

function urlSafe(text: string): string {
  return Buffer.from(text).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}

/** The engine knows Docker Hub by the address of an API that is long gone. */
function serverAddress(host: string): string {
  return host === dockerHub ? 'https://index.docker.io/v1/' : host;
}
