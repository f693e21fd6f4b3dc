import { text } from 'node:stream/consumers';
import { engineName, type ImageReference, isDigest } from '../domain/image-reference.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import type { PullProgress, PullRequest, PullResult } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { refusalOf } from './engine-refusal.ts';
import { explainFullDisk } from './full-disk.ts';
import { readMessages } from './ndjson.ts';
import { registryAuth } from './registry-access.ts';

/** The engine itself gives up on a registry that does not answer after 15 s, which it may try more than once. */
const resolveTimeoutMs = 60_000;
/** An earlier deployment of the image may let go of it between our download and our name for it. */
const mostTries = 3;

type Refused = Extract<PullResult, { ok: false }>;

/** Asks the registry, through the engine, what an image is now. Of an image for several machines it is all of it. */
export async function resolveImage(
  client: EngineClient,
  reference: ImageReference,
  credentials: RegistryLogin | undefined,
  signal: AbortSignal,
): Promise<{ ok: true; digest: string } | Refused> {
  const deadline = timeoutSignal(resolveTimeoutMs);
  try {
    const answer = await client.dial('asking a registry for an image', {
      method: 'GET',
      path: `/distribution/${engineName(reference)}/json`,
      headers: registryAuth(credentials),
      signal: AbortSignal.any([signal, deadline]),
    });
    const { Descriptor } = JSON.parse(await text(answer)) as { Descriptor?: { digest?: string } };
    const digest = Descriptor?.digest ?? '';
    return isDigest(digest)
      ? { ok: true, digest }
      : { ok: false, reason: 'the registry does not say which digest it has' };
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted)
      return { ok: false, reason: `the registry did not answer within ${resolveTimeoutMs / 1000} s` };
    return refusedBy(client.explained(error, 'asking a registry for an image'), credentials);
  }
}

/** Downloads the image of a digest and gives it a name of ours. What is left of the registry's name is removed. */
export async function pullImage(
  client: EngineClient,
  request: PullRequest,
  report: (progress: PullProgress) => void,
  signal: AbortSignal,
): Promise<PullResult> {
  const name = engineName(request.reference);
  const wasThere = await isThere(client, name);
  for (let tries = 1; ; tries += 1) {
    const refused = await download(client, name, request.credentials, report, signal);
    if (refused) return refused;
    signal.throwIfAborted();
    const [repo = '', tag = ''] = request.tag.split(/:(?=[^/]*$)/);
    const tagged = await client.ask('naming an image', (docker, abortSignal) =>
      docker.getImage(name).tag({ repo, tag, abortSignal }),
    );
    if (tagged.ok) break;
    // Not only 404: an image that is just being removed is found, and then its parts are not.
    if (tries === mostTries) throw new Error(`could not name the image ${name}: ${tagged.refusal.message}`);
  }
  if (!wasThere)
    await client.ask('forgetting where an image is from', (docker, abortSignal) =>
      docker.getImage(name).remove({ abortSignal }),
    );
  return { ok: true };
}

async function isThere(client: EngineClient, name: string): Promise<boolean> {
  const found = await client.ask('looking for an image', (docker) => docker.getImage(name).inspect());
  return found.ok;
}

async function download(
  client: EngineClient,
  name: string,
  credentials: RegistryLogin | undefined,
  report: (progress: PullProgress) => void,
  signal: AbortSignal,
): Promise<Refused | undefined> {
  const layers = new Layers();
  try {
    const answer = await client.dial('pulling an image', {
      method: 'POST',
      path: '/images/create?',
      query: { fromImage: name },
      headers: registryAuth(credentials),
      signal,
    });
    try {
      for await (const message of readMessages(answer)) {
        if (typeof message.error === 'string') return explainPull(message.error, credentials);
        if (layers.read(message)) report(layers.progress());
      }
    } finally {
      answer.destroy();
    }
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    return refusedBy(client.explained(error, 'pulling an image'), credentials);
  }
}

/** How far the layers are, by what the engine tells of each of them. */
class Layers {
  readonly #layers = new Map<string, { bytes: number; of: number; isDone: boolean }>();
  #isRetrying = false;

  /** Whether the message was about a layer. */
  read({ id, status, progressDetail }: Record<string, unknown>): boolean {
    if (typeof id !== 'string' || typeof status !== 'string' || !/^[0-9a-f]{12}$/.test(id)) return false;
    this.#isRetrying = status.startsWith('Retrying in');
    const { current = 0, total = 0 } = (progressDetail ?? {}) as { current?: number; total?: number };
    const layer = this.#layers.get(id) ?? { bytes: 0, of: 0, isDone: false };
    if (status === 'Downloading') this.#layers.set(id, { bytes: current, of: total, isDone: false });
    else if (status === 'Download complete') this.#layers.set(id, { ...layer, bytes: layer.of });
    else if (status === 'Pull complete' || status === 'Already exists')
      this.#layers.set(id, { ...layer, bytes: layer.of, isDone: true });
    else this.#layers.set(id, layer);
    return true;
  }

  progress(): PullProgress {
    const all = [...this.#layers.values()];
    const sum = (numbers: number[]): number => numbers.reduce((one, other) => one + other, 0);
    return {
      layers: all.length,
      layersDone: all.filter(({ isDone }) => isDone).length,
      bytes: sum(all.map(({ bytes }) => bytes)),
      bytesInAll: sum(all.map(({ of }) => of)),
      isRetrying: this.#isRetrying,
    };
  }
}

function refusedBy(error: unknown, credentials: RegistryLogin | undefined): Refused {
  const refusal = refusalOf(error);
  if (refusal === undefined) throw error;
  return explainPull(refusal.message, credentials);
}

/** The engine's words about a registry are long, and name it again. */
export function explainPull(message: string, credentials: RegistryLogin | undefined): Refused {
  const no = (reason: string): Refused => ({ ok: false, reason });
  const full = explainFullDisk(message);
  if (full !== undefined) return no(full);
  if (/error parsing HTTP 404 response body/i.test(message))
    return no('no registry of API v2 answers there (an old one of API v1, or no registry)');
  if (/no basic auth credentials|unauthorized|authentication required|denied|\b401\b|\b403\b/i.test(message))
    return {
      ok: false,
      wantsLogin: true,
      reason: credentials
        ? `the registry does not let ${credentials.username} have it, or the password is wrong`
        : 'the registry has no such image for everybody; it may want a login',
    };
  if (/no matching manifest for (\S+)/i.test(message))
    return no(`it is not for machines like this one (${/manifest for (\S+)/.exec(message)?.[1]})`);
  if (/manifest verification failed|does not match|digest mismatch|content digest/i.test(message))
    return no('what the registry sent is not what its digest says');
  if (/manifest unknown|name unknown|not found|name_unknown/i.test(message) && !/no such host/.test(message))
    return no('the registry has no such image or tag');
  if (/toomanyrequests|\b429\b/i.test(message))
    return no('the registry wants fewer requests; try again later');
  if (/schema ?1|schemaVersion 1|media type.*(?:prettyjws|v1\+json)|unsupported.*manifest/i.test(message))
    return no('its manifest is of an old kind that Docker does not run any more');
  if (/server gave HTTP response to HTTPS client/i.test(message))
    return no('the registry speaks plain HTTP, which the engine only trusts on loopback');
  if (/x509|certificate|tls:/i.test(message)) return no('the certificate of the registry is not trusted');
  if (/unexpected EOF/i.test(message)) return no('the registry broke the download off, again and again');
  const dial =
    /(connection refused|no such host|i\/o timeout|no route to host|network is unreachable|connection reset by peer|TLS handshake timeout|deadline exceeded|\bEOF\b)/i.exec(
      message,
    )?.[1];
  if (dial !== undefined) return no(`the registry does not answer: ${dial}`);
  if (/received unexpected HTTP status: (\d{3})/.test(message))
    return no(`the registry answered ${/status: (.*)$/.exec(message)?.[1]}`);
  if (
    /mediaType in manifest|unmarshal|invalid character|Content-Length|unexpected end of JSON/i.test(message)
  )
    return no(`the registry sent no manifest that makes sense: ${message}`);
  return no(message);
}
