import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { z } from 'zod';
import type { problemShape, readinessShape } from '../api/contract/server.ts';
import { type Config, dataPaths } from '../config.ts';
import { isInternalAddress } from '../domain/internal-address.ts';
import { messageOf } from '../errors.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** More than any proxy takes without being told to. */
const bodyBytes = 2 * 1024 ** 2;
/** Lines come 250 ms apart; what holds them back sends them all at once. */
const leastSpreadMs = 400;

/** Where the server itself listens, whatever its URL says. */
function localUrl({ bind, port }: Config): string {
  const host = bind === '0.0.0.0' || bind === '*' ? '127.0.0.1' : bind === '::' ? '[::1]' : bind;
  return `http://${host}:${port}`;
}

export async function isRunning(config: Config): Promise<boolean> {
  const answer = await fetch(`${localUrl(config)}/livez`, { signal: timeoutSignal(3000) }).catch(
    () => undefined,
  );
  return answer?.ok === true && /"status":"ok"/.test(await answer.text());
}

/** The administrator's token of this machine, or the one given. */
export async function readToken(config: Config): Promise<string | undefined> {
  const given = process.env.GANTRY_TOKEN?.trim();
  if (given) return given;
  const token = await readFile(dataPaths(config.dataDir).token, 'utf8').catch(() => '');
  return token.trim() || undefined;
}

export async function serverFinding(config: Config, token: string): Promise<Finding> {
  const answer = await fetch(`${localUrl(config)}/api/v1/readiness`, {
    headers: { authorization: `Bearer ${token}` },
    signal: timeoutSignal(10_000),
  });
  if (answer.status === 401 || answer.status === 403)
    return warn(
      'server',
      'it runs, but the token may not ask how it is',
      'GANTRY_TOKEN=<a token with admin>',
    );
  if (answer.status !== 200) {
    const { detail } = (await answer.json()) as z.infer<typeof problemShape>;
    return fail('server', detail, 'see the operator log');
  }
  const { ready, checks } = (await answer.json()) as z.infer<typeof readinessShape>;
  const bad = Object.entries(checks).filter(([, state]) => state !== 'ok');
  return ready
    ? ok('server', `runs and is ready (${Object.keys(checks).join(', ')})`)
    : fail('server', bad.map(([name, state]) => `${name}: ${state}`).join('; '), 'see the operator log');
}

/** Git's way in: as people outside see it, through whatever stands before the server. */
export async function urlFindings(config: Config, token: string | undefined): Promise<Finding[]> {
  const { hostname, protocol } = new URL(config.url);
  const isHere = hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]';
  return [
    isHere
      ? ok('url', `${config.url}, for this machine only; GANTRY_URL sets another`)
      : protocol === 'https:'
        ? ok('url', config.url)
        : warn(
            'url',
            `${config.url}: tokens and code travel in the clear`,
            'put a proxy with TLS before it and set GANTRY_URL=https://...',
          ),
    ...(token === undefined ? [] : [await connectionFinding(config.url, token)]),
    ...(isHere || isIP(hostname) === 0 || !isInternalAddress(hostname)
      ? []
      : [
          warn(
            'webhooks',
            `forges on the internet cannot reach ${config.url}`,
            'set GANTRY_URL to a public name, or let Gantry look itself: gantry webhooks link --poll',
          ),
        ]),
  ];
}

/** Builds may say nothing for a while, and proxies take a connection that is silent for a minute for a dead one. */
export async function silenceFinding({ url }: Config, token: string, seconds: number): Promise<Finding> {
  const check = 'silence';
  try {
    const response = await fetch(`${url}/api/v1/connection-check`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ filler: '', silence: seconds }),
      redirect: 'manual',
      signal: timeoutSignal(seconds * 1000 + 30_000),
    });
    const lines = (await response.text()).trimEnd();
    if (lines.endsWith(`{"silent":${seconds}}`))
      return ok(check, `a push may be silent for ${seconds} s on the way to ${url}`);
  } catch {
    // It was cut.
  }
  return fail(
    check,
    `a push that is silent for ${seconds} s is cut on the way to ${url}`,
    'nginx: proxy_read_timeout 1h; proxy_send_timeout 1h;',
  );
}

async function connectionFinding(url: string, token: string): Promise<Finding> {
  const check = 'proxy';
  try {
    const response = await fetch(`${url}/api/v1/connection-check`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ filler: 'x'.repeat(bodyBytes) }),
      redirect: 'manual',
      signal: timeoutSignal(30_000),
    });
    if (response.status === 413)
      return fail(
        check,
        `pushes over 2 MiB are refused on the way to ${url}`,
        'nginx: client_max_body_size 0;',
      );
    if (response.status === 401)
      return warn(
        check,
        `${url} does not know the token of this server`,
        'is GANTRY_URL the address of this one?',
      );
    if (!response.ok)
      return fail(
        check,
        `${url} answers with status ${response.status}`,
        'is GANTRY_URL the address of this one?',
      );
    const at: number[] = [];
    for await (const chunk of response.body ?? []) {
      if ((chunk as Uint8Array).length > 0) at.push(performance.now());
    }
    const spread = (at.at(-1) ?? 0) - (at[0] ?? 0);
    return spread < leastSpreadMs
      ? warn(
          check,
          `something before ${url} holds answers back: logs do not come live`,
          'nginx: proxy_buffering off;',
        )
      : ok(check, 'large pushes get through and logs come live');
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause ?? error;
    return fail(
      check,
      `${url} cannot be reached from here: ${messageOf(cause)}`,
      'set GANTRY_URL, or check DNS',
    );
  }
}
