import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import type { AppSettings } from '../domain/app-settings.ts';
import type { Symptom } from './explain-unhealthy.ts';

/** One question to a container that has to be answered well before traffic goes there. */
export type HealthCheck = { name: string; port: number } & (
  | { kind: 'http'; path: string }
  /** Of the HTTP port, which may well speak something else. */
  | { kind: 'port' }
  | { kind: 'tcp' }
);

/**
 * Every path of the app, `/` when it names none. An app with a TCP service must take connections there, too; it may well
 * speak no HTTP, so it is asked for a path only if it names one. Of one that is only to run, nothing is asked.
 */
export function healthChecks(
  {
    healthPaths,
    healthCheck,
    port,
    tcpPort,
  }: Pick<AppSettings, 'healthPaths' | 'healthCheck' | 'port' | 'tcpPort'>,
  hasTcp: boolean,
): HealthCheck[] {
  const paths = healthPaths.length > 0 || hasTcp ? healthPaths : ['/'];
  const http = paths.map((path): HealthCheck => ({ name: `GET ${path}`, kind: 'http', port, path }));
  return [
    ...(healthCheck === 'http' ? http : []),
    ...(healthCheck === 'port' ? [{ name: `port ${port}`, kind: 'port', port } as const] : []),
    ...(hasTcp ? [{ name: `TCP ${tcpPort}`, kind: 'tcp', port: tcpPort } as const] : []),
  ];
}

export function isHealthy(symptom: Symptom): boolean {
  return symptom.kind === 'connected' || (symptom.kind === 'answered' && symptom.status === 200);
}

/** Asks a container once, as the router would. Never rejects; an aborted signal is a container that keeps silent. */
export async function probe(address: string, check: HealthCheck, signal: AbortSignal): Promise<Symptom> {
  return check.kind === 'http'
    ? probeHttp(address, check.port, check.path, signal)
    : probeTcp(address, check.port, signal);
}

/** An app that goes on although we are done is left after that. */
const hangUpMs = 1_000;

function probeTcp(host: string, port: number, signal: AbortSignal): Promise<Symptom> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal });
    socket.once('connect', () => {
      resolve({ kind: 'connected' });
      // A reset in the middle of its greeting has ended many an app: it says what it has to say, and we hang up after it.
      socket.resume();
      socket.end();
      const hangUp = setTimeout(() => socket.destroy(), hangUpMs);
      socket.once('close', () => clearTimeout(hangUp));
    });
    socket.once('error', (error) => resolve(symptomOf(error)));
  });
}

function probeHttp(host: string, port: number, path: string, signal: AbortSignal): Promise<Symptom> {
  return new Promise((resolve) => {
    const request = get(
      {
        host,
        port,
        path,
        agent: new Agent({ keepAlive: false }),
        signal,
        headers: { 'user-agent': 'gantry-health-check', accept: '*/*', connection: 'close' },
      },
      (response) => {
        resolve({ kind: 'answered', status: response.statusCode ?? 0 });
        response.destroy();
      },
    );
    request.on('error', (error) => resolve(symptomOf(error)));
  });
}

function symptomOf(error: NodeJS.ErrnoException): Symptom {
  if (error.code === 'ECONNREFUSED' || error.code === 'EHOSTUNREACH') return { kind: 'refused' };
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return { kind: 'silent' };
  return { kind: 'broken', message: error.message };
}
