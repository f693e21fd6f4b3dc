import type { ContainerInspectInfo } from 'dockerode';
import type { EngineClient } from './engine-client.ts';

/** How long the news of a kill may come after the news of the exit it caused; on a busy machine that is seconds. */
const graceMs = 500;
const graceIfKilledMs = 2000;
const exitCodeOfKill = 137;
/** The engine notes the time of a start when it is over; a process that eats its memory at once is dead by then. */
const startMs = 2_000;

/**
 * Whether the kernel killed something in a container for memory, from the engine's log of events. The state of the
 * container says the same, but not when the engine hears of the exit first: the two take different ways to it. A process
 * that dies within milliseconds of its start is in neither.
 */
export async function hasRunOutOfMemory(
  client: EngineClient,
  { Id, State }: ContainerInspectInfo,
): Promise<boolean> {
  const filters = { container: [Id], event: ['oom'] };
  return await client.call('looking for events', async (docker, abortSignal) => {
    const patienceMs = State.ExitCode === exitCodeOfKill ? graceIfKilledMs : graceMs;
    const until = (Date.now() + patienceMs) / 1000;
    const since = (Date.parse(State.StartedAt) - startMs) / 1000;
    const events = await docker.getEvents({ since, until, filters, abortSignal });
    for await (const _ of events) return true;
    return false;
  });
}
