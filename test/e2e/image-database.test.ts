import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage } from '../support/base-image.ts';
import type { GitResult } from '../support/git.ts';
import { OwnEngine } from '../support/own-engine.ts';
import { notesInPostgres, postgresImage } from '../support/postgres-image.ts';
import { pushBuilt } from '../support/push-built.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { Rig, until } from '../support/rig.ts';

/** An app and its database, both from images alone, over everything that can be restarted. */
let engine: OwnEngine;
let registry: Registry;
let rig: Rig;
let postgres: string;
beforeAll(async () => {
  postgres = await postgresImage();
  engine = await OwnEngine.start({ images: [baseImage, postgres] });
  registry = await startRegistry({ isOpen: true, engine });
  rig = await Rig.start({}, engine);
}, 900_000);
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

const notes = (query = ''): Promise<string> =>
  rig.request('notes', `/cgi-bin/notes${query}`).then(({ body }) => body.trim(), String);
const version = (): Promise<string> => rig.request('notes').then(({ body }) => body, String);
const publish = (tag: string): Promise<void> =>
  pushBuilt(engine.docker, `${registry.host}/notes:${tag}`, notesInPostgres(postgres, tag));
const deploy = (tag: string): Promise<GitResult> =>
  rig.gantry('deploy', 'notes', '--image', `${registry.host}/notes:${tag}`);

/** Both in one look: an instance can answer a visitor who waited before the router sends it others. */
async function expectAsBefore(which: string): Promise<void> {
  const isAsBefore = async () => (await notes()) === 'first' && (await version()) === which;
  await until(`${which} and its notes are there`, isAsBefore, 60_000);
}

test('an image with a database has its data after three redeployments', async () => {
  const made = await rig.gantry('services', 'create', 'db', '--template', 'postgresql', '--image', postgres);
  expect(made.stderr).toMatch(/db is there/);
  await rig.api('POST', '/apps', { name: 'notes' });
  await rig.gantry('bind', 'notes', 'db');
  await publish('v1');
  const first = await deploy('v1');
  expect(first.stdout).toMatch(/with its services: db/);
  expect(first.stdout).toMatch(/notes v1 is live/);
  expect(await notes('?first')).toBe('first');
  for (const tag of ['v2', 'v3', 'v4']) {
    await publish(tag);
    expect((await deploy(tag)).stdout).toMatch(/notes v\d is live/);
    await expectAsBefore(tag);
  }
}, 180_000);

test('it does without the registry, but for what is only there', async () => {
  await publish('v5');
  await registry.stop();
  const refused = await deploy('v5');
  expect(refused.stdout).toMatch(
    /failed in "pull"[^]*cannot pull \S+notes:v5: the registry does not answer: connection refused/,
  );
  expect(refused.code).toBe(6);
  await expectAsBefore('v4');
  expect((await rig.gantry('scale', '--instances', '2', '--app', 'notes')).code).toBe(0);
  expect((await rig.gantry('restart', 'notes')).stdout).toMatch(/2 instances[^]*is live/);
  await expectAsBefore('v4');
  expect((await rig.gantry('rollback', 'v3', '--app', 'notes')).stdout).toMatch(/is live/);
  await expectAsBefore('v3');
}, 60_000);

const restarts: Record<string, () => Promise<void>> = {
  'the engine': async () => {
    await engine.stopDaemon();
    await engine.startDaemon();
  },
  'the engine, which was killed': async () => {
    await engine.kill9();
    await engine.startDaemon();
  },
  'the host, whose power was cut': async () => {
    await engine.powerOff();
    await engine.powerOn();
    await Promise.all([engine.startDaemon(), rig.start()]);
  },
};

test.each(Object.entries(restarts))(
  'it is back with its data after a restart of %s, still without the registry',
  async (_, restart) => {
    await restart();
    await expectAsBefore('v3');
    expect((await rig.gantry('restart', 'notes')).stdout).toMatch(/is live/);
    await expectAsBefore('v3');
  },
  90_000,
);

test('with the registry back a deployment needs nothing else', async () => {
  await registry.resume();
  expect((await deploy('v5')).stdout).toMatch(/is live/);
  await expectAsBefore('v5');
}, 60_000);
