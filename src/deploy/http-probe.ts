import { Agent, get } from 'node:http';
import type { Symptom } from './explain-unhealthy.ts';

/** Asks a container once, as the router would. Never rejects; an aborted signal is a container that keeps silent. */
export async function probeHttp(
  { address, port }: { address: string; port: number },
  path: string,
  signal: AbortSignal,
): Promise<Symptom> {
  return new Promise((resolve) => {
    const request = get(
      {
        host: address,
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
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'EHOSTUNREACH') resolve({ kind: 'refused' });
      else if (error.name === 'AbortError' || error.name === 'TimeoutError') resolve({ kind: 'silent' });
      else resolve({ kind: 'broken', message: error.message });
    });
  });
}
