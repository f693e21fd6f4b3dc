import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { timeoutSignal } from '../src/timeout-signal.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

test('aborts in time, though nobody but a combined signal knows of it', async () => {
  const never = new AbortController();
  const signal = AbortSignal.any([timeoutSignal(200), never.signal]);
  const aborted = new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)));
  await sleep(20);
  collectGarbage();
  const reason = await Promise.race([aborted, sleep(2000, 'not aborted')]);
  expect(reason).toMatchObject({ name: 'TimeoutError', message: 'timed out after 200 ms' });
});
