import { randomUUID } from 'node:crypto';
import { timeoutSignal } from '../timeout-signal.ts';
import { OutputLines } from './container-output.ts';
import type { EngineClient } from './engine-client.ts';
import { execMarker, killExec } from './kill-exec.ts';

export type ExecOptions = { timeoutMs: number; signal: AbortSignal };

export async function execCommand(
  client: EngineClient,
  container: string,
  command: string,
  report: (line: string) => Promise<void>,
  { timeoutMs, signal }: ExecOptions,
): Promise<{ exitCode: number | 'timed out' }> {
  signal.throwIfAborted();
  const id = randomUUID();
  const exec = await client.call('preparing a command', (docker, abortSignal) =>
    docker.getContainer(container).exec({
      Cmd: ['sh', '-c', command],
      Env: [`${execMarker}=${id}`],
      AttachStdout: true,
      AttachStderr: true,
      abortSignal,
    }),
  );
  const stream = await client.call('starting a command', () => exec.start({ hijack: true, stdin: false }));

  // Closing the stream does not stop the command, so the end comes from outside: kill, then close.
  const timeout = timeoutSignal(timeoutMs);
  const stopped = AbortSignal.any([signal, timeout]);
  const close = (): void => {
    stream.destroy();
  };
  stopped.addEventListener('abort', close, { once: true });
  try {
    await readLines(stream, report);
  } catch (error) {
    if (!stopped.aborted) throw error;
  } finally {
    stopped.removeEventListener('abort', close);
    stream.destroy();
  }
  if (stopped.aborted) {
    await killExec(client, container, id);
    signal.throwIfAborted();
    return { exitCode: 'timed out' };
  }
  const { ExitCode } = await client.call('reading an exit code', (_, abortSignal) =>
    exec.inspect({ abortSignal }),
  );
  return { exitCode: ExitCode ?? -1 };
}

async function readLines(
  chunks: AsyncIterable<unknown>,
  report: (line: string) => Promise<void>,
): Promise<void> {
  const output = new OutputLines();
  for await (const chunk of chunks) {
    if (!(chunk instanceof Uint8Array)) continue;
    for (const line of output.push(chunk)) await report(line);
  }
  for (const line of output.end()) await report(line);
}
