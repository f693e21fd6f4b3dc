import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TerminalSize } from '../domain/terminal.ts';
import type { EngineTerminal } from './engine.ts';
import type { EngineClient } from './engine-client.ts';

/** How long a container may take from its start until it has a terminal whose size can be set. */
const sizeWithinMs = 10_000;

/** Attaches to a container made with a terminal; before its start, or the first bytes were lost. */
export async function attachTerminal(client: EngineClient, id: string): Promise<EngineTerminal> {
  const stream = (await client.call('attaching to a container', (docker) =>
    docker.getContainer(id).attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true }),
  )) as Duplex;
  // Whoever reads it learns of it; a write may come later than that.
  stream.on('error', () => {});
  return { stream, resize: (size) => resizeTerminal(client, id, size) };
}

/** Fine when the container has ended. */
async function resizeTerminal(
  client: EngineClient,
  id: string,
  { columns, rows }: TerminalSize,
): Promise<void> {
  const deadline = performance.now() + sizeWithinMs;
  for (;;) {
    const resized = await client.ask('setting the size of a terminal', (docker, abortSignal) =>
      docker.getContainer(id).resize({ h: rows, w: columns, abortSignal }),
    );
    if (resized.ok || resized.refusal.status === 404 || performance.now() > deadline) return;
    // It is not running: not yet, or not any more.
    const found = await client.ask('inspecting a container', (docker, abortSignal) =>
      docker.getContainer(id).inspect({ abortSignal }),
    );
    if (!found.ok || !['created', 'running'].includes(found.value.State.Status)) return;
    await sleep(3);
  }
}
