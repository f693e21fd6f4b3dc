import { messageOf } from '../../src/errors.ts';
import { type Outcome, play, type Scene } from './play.ts';
import { type Place, Stage } from './stage.ts';

type Tell = (outcome: Outcome, stage: Stage) => Promise<void>;

/** How many stages there are at once: what takes long is waiting, as for a lease to run out. */
const lanes: Record<Place, number> = { 'small disk': 6, 'own engine': 1 };

/**
 * Plays all of them, several at once, each on a stage of its own. Throws when a stage cannot be had; ends early with the
 * signal.
 */
export async function playAll(scenes: readonly Scene[], tell: Tell, ending: AbortSignal): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([ending, failed.signal]);
  const played = (Object.keys(lanes) as Place[]).flatMap((place) => {
    const waiting = scenes.filter(({ fault }) => fault.place === place);
    const count = Math.min(lanes[place], waiting.length);
    return Array.from({ length: count }, () =>
      playSome(place, waiting, tell, signal).catch((error: unknown) => {
        failed.abort();
        throw error;
      }),
    );
  });
  for (const one of await Promise.allSettled(played)) if (one.status === 'rejected') throw one.reason;
}

/** One lane: takes what waits, one after the other. */
async function playSome(place: Place, waiting: Scene[], tell: Tell, signal: AbortSignal): Promise<void> {
  while (waiting.length > 0 && !signal.aborted) {
    await using stage = await Stage.open(place);
    for (let isWhole = true; isWhole && !signal.aborted; ) {
      const scene = waiting.shift();
      if (!scene) return;
      const outcome = await play(stage, scene, signal).catch((error: unknown) => gaveUp(scene, error));
      if (signal.aborted) return;
      await tell(outcome, stage);
      isWhole = outcome.broken.length === 0; // the next scene is not to suffer from what is left of this one
    }
  }
}

function gaveUp(scene: Scene, error: unknown): Outcome {
  const broken = [`it could not be played to its end: ${messageOf(error)}`];
  return { scene, state: 'unknown', broken, recoveryMs: 0, requests: 0, failed: 0 };
}
