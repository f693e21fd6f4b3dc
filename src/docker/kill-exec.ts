import { readdir, readFile } from 'node:fs/promises';
import type { EngineClient } from './engine-client.ts';

/** Marks every process an exec starts: children inherit it, and a process id alone could belong to anyone. */
export const execMarker = 'GANTRY_EXEC';

/**
 * Kills what an exec started, children included; the engine has no call for it. From the host when our /proc shows those
 * processes, else (we run in a container ourselves) from inside the container.
 */
export async function killExec(client: EngineClient, container: string, id: string): Promise<void> {
  if ((await killMarked(id)) > 0) return;
  await killFromInside(client, container, id);
}

/** Repeats until none is left, since a process may fork while we look. */
async function killMarked(id: string): Promise<number> {
  let killed = 0;
  for (let round = 0; round < 20; round++) {
    const pids = await markedProcesses(id);
    if (pids.length === 0) break;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
        killed++;
      } catch {
        // It has ended by itself, or is not ours to kill.
      }
    }
  }
  return killed;
}

async function markedProcesses(id: string): Promise<number[]> {
  const marker = `${execMarker}=${id}`;
  const found: number[] = [];
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    if (environment.split('\0').includes(marker)) found.push(Number(name));
  }
  return found;
}

export async function killFromInside(client: EngineClient, container: string, id: string): Promise<void> {
  const script =
    'for p in /proc/[0-9]*; do if tr "\\0" "\\n" <$p/environ | grep -qx "$0"; then kill -9 "${p#/proc/}"; fi; done 2>/dev/null';
  await client.ask('killing a command', async (docker, abortSignal) => {
    const exec = await docker.getContainer(container).exec({
      Cmd: ['sh', '-c', script, `${execMarker}=${id}`],
      AttachStdout: true,
      abortSignal,
    });
    const stream = await exec.start({ hijack: true, abortSignal });
    for await (const _ of stream) void _;
  });
}
