import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Exec } from 'dockerode';
import { framedOutput, plainOutput, resizeWhenItRuns } from './attach-terminal.ts';
import type { ExecRequest, ExecResult } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { execMarker } from './kill-exec.ts';

/** A command of somebody in a container that runs, with a terminal or with plain streams. */
export async function execInTerminal(
  client: EngineClient,
  container: string,
  { command, mark, screen }: ExecRequest,
): Promise<ExecResult> {
  const made = await client.ask('preparing a command', (docker, abortSignal) =>
    docker.getContainer(container).exec({
      Cmd: [...command],
      Env: [`${execMarker}=${mark}`, ...(screen ? [`TERM=${screen.kind}`] : [])],
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Tty: screen !== undefined,
      abortSignal,
    }),
  );
  if (!made.ok) return { ok: false, reason: 'its container does not run any more' };
  const exec = made.value;
  const stream: Duplex = await client.call('starting a command', () =>
    exec.start({ hijack: true, stdin: true, Tty: screen !== undefined }),
  );
  // Whoever reads it learns of it; a write may come later than that.
  stream.on('error', () => {});
  const resize: ExecResultTerminal['resize'] = ({ columns, rows }) =>
    resizeWhenItRuns(
      () =>
        client.ask('setting the size of a terminal', (_, abortSignal) =>
          exec.resize({ h: rows, w: columns, abortSignal }),
        ),
      async () => (await inspect(client, exec))?.isOver === false,
    );
  if (screen) await resize(screen);
  const output = screen ? plainOutput(stream) : framedOutput(stream);
  return { ok: true, terminal: { stream, output, resize }, exitCode: () => exitCode(client, exec) };
}

type ExecResultTerminal = Extract<ExecResult, { ok: true }>['terminal'];

/** Asked once its output has ended; a command may go on after that. */
async function exitCode(client: EngineClient, exec: Exec): Promise<number | undefined> {
  for (let pauseMs = 10; ; pauseMs = Math.min(1000, pauseMs * 2)) {
    const state = await inspect(client, exec);
    if (!state || state.isOver) return state?.exitCode;
    await sleep(pauseMs);
  }
}

/** `undefined`: it is gone, with its container. */
async function inspect(
  client: EngineClient,
  exec: Exec,
): Promise<{ isOver: boolean; exitCode: number } | undefined> {
  const found = await client.ask('looking at a command', (_, abortSignal) => exec.inspect({ abortSignal }));
  if (!found.ok) return undefined;
  const { Running, ExitCode } = found.value;
  return { isOver: !Running && ExitCode !== null, exitCode: ExitCode ?? -1 };
}
