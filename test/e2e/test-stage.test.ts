import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { inventory, settledInventory } from '../support/inventory.ts';
import { processesWith } from '../support/processes.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '20', GANTRY_BUILD_TIMEOUT: '15' });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

async function setTest(app: string, command: string): Promise<void> {
  await rig.setEnv(app, {});
  const set = await rig.gantry('apps', 'set', app, '--test-command', command);
  expect(set.stdout).toMatch(/^test command +/m);
  expect(set.code).toBe(0);
}

test('the command runs in the new image, with the variables and without the volumes, before anything is started', async () => {
  const app = 'tested';
  await using repo = await appRepository('web');
  await rig.setEnv(app, { GREETING: 'hello', TOKEN: 'the-secret-token' });
  await rig.gantry('volumes', 'add', app, 'notes:/data');
  await setTest(
    app,
    'cat /app/version; echo " $GREETING $TOKEN ${PORT-no port} $INSTANCE_TYPE"; ls -d /data; true',
  );
  const push = await repo.push(await rig.pushUrl(app));
  const said = push.stderr.replaceAll(/^remote: ?/gm, '');
  expect(said).toMatch(/-----> Testing: cat \/app\/version; echo/);
  expect(said).toContain('one hello (hidden) no port test');
  expect(said).toMatch(/ls: .*\/data.*No such file/);
  expect(said).toMatch(/passed in [\d.]+s/);
  expect(said.indexOf('Building')).toBeLessThan(said.indexOf('Testing'));
  expect(said.indexOf('passed in')).toBeLessThan(said.indexOf('Starting v1'));
  expect(push.code).toBe(0);

  // What was tested is not tested again.
  const restart = await rig.gantry('restart', '--app', app);
  expect(restart.stdout).not.toContain('Testing');
  expect(restart.code).toBe(0);
});

test('an image that does not pass is not deployed: its output, the step and the exit code are in the push', async () => {
  const app = 'broken';
  await using repo = await appRepository('web');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  const before = await settledInventory(rig);
  await setTest(app, 'echo "2 of 3 tests failed"; exit 7');
  await repo.commit({ version: 'two' });
  const push = await repo.push(await rig.pushUrl(app));
  expect(push.stderr).toMatch(/error: deploy #2 failed in "test" after/);
  expect(push.stderr).toContain('the tests exited with code 7');
  expect(push.stderr).toContain('2 of 3 tests failed');
  expect(push.stderr).toContain('v1 is still serving');
  expect(push.stderr).not.toContain('Starting v2');
  expect(push.code).toBe(1);
  expect((await rig.request(app)).body).toBe('one');
  const shown = JSON.parse(
    (await rig.gantry('deploys', 'show', '2', '--app', app, '--json')).stdout,
  ) as object;
  expect(shown).toMatchObject({ state: 'failed', step: 'test' });
  await expect.poll(() => inventory(rig), { timeout: 20_000 }).toEqual(before);

  await setTest(app, 'default');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  expect((await rig.request(app)).body).toBe('two');
});

test('tests that do not end are ended, and so are those of a deployment that is cancelled', async () => {
  const app = 'endless';
  await using repo = await appRepository('web');
  expect((await repo.push(await rig.pushUrl(app))).code).toBe(0);
  const before = await settledInventory(rig);
  await setTest(app, 'sleep 987651');
  await repo.commit({ version: 'two' });
  const late = await repo.push(await rig.pushUrl(app));
  expect(late.stderr).toContain('the tests timed out after 15.0s');
  expect(late.code).toBe(1);
  const pushing = repo.push(await rig.pushUrl(app));
  await until('the tests run', async () => (await processesWith('987651')).length > 0);
  expect((await rig.gantry('deploys', 'cancel', '3', '--app', app)).code).toBe(0);
  expect((await pushing).code).toBe(1);
  await expect.poll(() => processesWith('987651'), { timeout: 5000 }).toEqual([]);
  await expect.poll(() => inventory(rig), { timeout: 20_000 }).toEqual(before);
});

test('an image without a shell says so, a command without an end of sense is refused', async () => {
  const app = 'shell-less';
  await using repo = await appRepository('web', {
    Dockerfile: 'FROM scratch\nCOPY version /version\nCMD ["/version"]\n',
  });
  await setTest(app, 'true');
  const push = await repo.push(await rig.pushUrl(app));
  expect(push.stderr).toMatch(/failed in "test"/);
  expect(push.stderr).toContain('the image has no sh');
  expect(push.code).toBe(1);
  const refused = await rig.gantry('apps', 'set', app, '--test-command', ' ');
  expect(refused.stderr).toContain('a command has 1 to 10 000 characters');
  expect(refused.code).toBe(2);
});
