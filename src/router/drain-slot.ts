import { setTimeout as sleep } from 'node:timers/promises';
import { type BusySlot, pointsTo, type Slot } from './slots.ts';

export type DrainSteps = {
  limitMs: number;
  signal: AbortSignal;
  /** The slot now; it may have been freed or taken up again by somebody else. */
  current: () => Slot | undefined;
  /** In all workers. Rejects when that cannot be known. */
  inFlight: () => Promise<number>;
  cut: () => Promise<void>;
  free: (slot: BusySlot) => Promise<void>;
};

const firstPollMs = 10;
const slowestPollMs = 500;
/** A request may be between two counts of a worker just once. */
const zerosInARow = 2;
/** Sessions that were cut need a moment to end. */
const cutMs = 2_000;

/** Waits until a draining slot is idle, or cuts what is left at the limit, and frees it. */
export async function drainSlot(steps: DrainSteps): Promise<'idle' | 'cut'> {
  const slot = steps.current();
  if (slot === undefined || slot.use === 'free') return 'idle';
  const idle = await untilIdle(steps, slot, steps.limitMs);
  if (idle) {
    await steps.free(slot);
    return 'idle';
  }
  await steps.cut();
  await untilIdle(steps, slot, cutMs);
  await steps.free(slot);
  return 'cut';
}

async function untilIdle(steps: DrainSteps, slot: BusySlot, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  let zeros = 0;
  let pollMs = firstPollMs;
  for (;;) {
    steps.signal.throwIfAborted();
    const now = steps.current();
    if (now === undefined || now.use === 'free' || !pointsTo(now, slot)) return true;
    if (now.use === 'live') throw new Error(`${slot.address}:${slot.port} is live and cannot be drained`);
    // An answer that does not come is "not known", and neither zero nor in a row with one.
    const inFlight = await steps.inFlight().catch(() => undefined);
    zeros = inFlight === 0 ? zeros + 1 : 0;
    if (zeros === zerosInARow) return true;
    if (performance.now() >= deadline) return false;
    pollMs = zeros > 0 ? firstPollMs : Math.min(pollMs * 1.3, slowestPollMs);
    const pauseMs = Math.max(0, Math.min(pollMs, deadline - performance.now()));
    await sleep(pauseMs, undefined, { signal: steps.signal }).catch(() => steps.signal.throwIfAborted());
  }
}
