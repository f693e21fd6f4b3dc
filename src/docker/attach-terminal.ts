import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrameDecoder } from './container-output.ts';
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
  return {
    stream,
    output: plainOutput(stream),
    resize: ({ columns, rows }) =>
      resizeWhenItRuns(
        () =>
          client.ask('setting the size of a terminal', (docker, abortSignal) =>
            docker.getContainer(id).resize({ h: rows, w: columns, abortSignal }),
          ),
        async () => {
          const found = await client.ask('inspecting a container', (docker, abortSignal) =>
            docker.getContainer(id).inspect({ abortSignal }),
          );
          return found.ok && ['created', 'running'].includes(found.value.State.Status);
        },
      ),
  };
}

/** Of a terminal, which has one stream for everything. */
export async function* plainOutput(stream: Duplex): EngineTerminal['output'] {
  for await (const bytes of stream as AsyncIterable<Buffer>) yield { stream: 'stdout', bytes };
}

/** Of what has no terminal. */
export async function* framedOutput(stream: Duplex): EngineTerminal['output'] {
  const frames = new FrameDecoder();
  for await (const chunk of stream as AsyncIterable<Buffer>) yield* frames.push(chunk);
}

/** What runs not yet has no size; fine when it is over. */
export async function resizeWhenItRuns(
  resize: () => Promise<{ ok: true } | { ok: false; refusal: { status: number } }>,
  mayRun: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + sizeWithinMs;
  for (;;) {
    const resized = await resize();
    if (resized.ok || resized.refusal.status === 404 || performance.now() > deadline) return;
    if (!(await mayRun())) return;
    await sleep(3);
  }
}
