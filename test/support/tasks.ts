import { localDocker } from './base-image.ts';
import type { Rig } from './rig.ts';

/** `1 running` for each container of a task. */
export async function taskContainers(rig: Rig): Promise<string[]> {
  const label = [`gantry.store=${await rig.storeId}`, 'gantry.task'];
  const listed = await localDocker().listContainers({ all: true, filters: { label } });
  return listed.map(({ State, Labels }) => `${Labels['gantry.task']} ${State}`);
}

export async function shownTask(rig: Rig, app: string, number: number): Promise<Record<string, unknown>> {
  const { stdout } = await rig.gantry('tasks', 'show', String(number), '--app', app, '--json');
  return JSON.parse(stdout) as Record<string, unknown>;
}
