import { RecordLines } from './container-output.ts';
import type { EngineClient } from './engine-client.ts';

/** Hands over what a container printed and prints, from its first line until it stops. */
export async function followOutput(
  client: EngineClient,
  container: string,
  report: (lines: string[]) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const answer = await client.dial('following the output of a container', {
    method: 'GET',
    path: `/containers/${container}/logs?`,
    query: { follow: '1', stdout: '1', stderr: '1' },
    signal,
  });
  const records = new RecordLines();
  try {
    for await (const chunk of answer) {
      const lines = records.push(chunk as Buffer);
      if (lines.length > 0) await report(lines);
    }
    const rest = records.end();
    if (rest.length > 0) await report(rest);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    answer.destroy();
  }
}
