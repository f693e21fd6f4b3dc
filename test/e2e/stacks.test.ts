import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { lookAlikeImages } from '../support/look-alike-images.ts';
import { appRepository, Rig } from '../support/rig.ts';

/** Dockerfiles as people write them, on Debian: packages from its mirror and npm's, several stages, users, shells. */
let rig: Rig;
let images: AsyncDisposable;
beforeAll(async () => {
  images = await lookAlikeImages(localDocker());
  rig = await Rig.start();
}, 600_000);
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await images?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

test.each([
  ['node', 'node: a day has 86400000 ms\n'],
  ['python', 'python: hello from flask\n'],
  ['static', 'static: a page\n'],
  ['compiled', 'compiled: hello in C\n'],
  ['multistage', 'MULTI-STAGE: BUILT IN FOUR STAGES\nfor everybody\n'],
])(
  'a %s app is deployed, and again from the cache',
  async (stack, body) => {
    await using repo = await appRepository(`../stacks/${stack}`);
    await rig.setEnv(stack, { GREETING: 'everybody' });
    const first = await repo.push(await rig.pushUrl(stack));
    expect(first.code).toBe(0);
    expect(await rig.request(stack)).toMatchObject({ status: 200, body });

    await repo.commit({ 'README.md': 'Only words.' });
    const second = await repo.push(await rig.pushUrl(stack));
    expect(second.code).toBe(0);
    expect(second.stderr).toMatch(/success: \w+ v2 is live/);
    expect(await rig.request(stack)).toMatchObject({ status: 200, body });
  },
  600_000,
);
