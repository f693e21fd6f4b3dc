import { describe, expect, it } from 'vitest';
import { TransferSlots } from '../../src/git/transfer-slots.ts';

const never = new AbortController().signal;

describe('transfer slots', () => {
  it('are given out up to the total, then in the order of asking', async () => {
    const slots = new TransferSlots({ total: 1, perAccount: 1, waiting: 2 });
    const admitted: string[] = [];
    const first = await slots.acquire('ana', never);
    const ben = slots.acquire('ben', never).then((release) => {
      admitted.push('ben');
      return release;
    });
    const eve = slots.acquire('eve', never).then((release) => {
      admitted.push('eve');
      return release;
    });
    expect(await slots.acquire('zoe', never)).toBeUndefined();
    first?.();
    (await ben)?.();
    (await eve)?.();
    expect(admitted).toEqual(['ben', 'eve']);
  });

  it('do not let one account keep the others waiting', async () => {
    const slots = new TransferSlots({ total: 2, perAccount: 1, waiting: 9 });
    const first = await slots.acquire('ana', never);
    let isAdmitted = false;
    const second = slots.acquire('ana', never).then((release) => {
      isAdmitted = true;
      return release;
    });
    (await slots.acquire('ben', never))?.();
    expect(isAdmitted).toBe(false);
    first?.();
    expect(await second).toBeDefined();
  });

  it('are not lost with somebody who gives up waiting, nor when given back twice', async () => {
    const slots = new TransferSlots({ total: 1, perAccount: 1, waiting: 9 });
    const impatient = new AbortController();
    const first = await slots.acquire('ana', never);
    const second = slots.acquire('ben', impatient.signal);
    impatient.abort();
    expect(await second).toBeUndefined();
    expect(await slots.acquire('eve', impatient.signal)).toBeUndefined();
    first?.();
    first?.();
    expect(await slots.acquire('zoe', never)).toBeDefined();
    let isAdmitted = false;
    void slots.acquire('ana', never).then(() => {
      isAdmitted = true;
    });
    await Promise.resolve();
    expect(isAdmitted).toBe(false);
  });
});
