import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { baseImage, localDocker } from '../support/base-image.ts';
import { appRepository, Rig } from '../support/rig.ts';

let rig: Rig;
const docker = localDocker();
const network = `more-${process.pid}`;
let neighbour: string;
beforeAll(async () => {
  rig = await Rig.start();
  await docker.createNetwork({
    Name: network,
    IPAM: { Driver: 'default', Config: [{ Subnet: '10.214.9.0/28' }] },
  });
  const container = await docker.createContainer({
    Image: baseImage,
    Cmd: ['sh', '-c', 'mkdir /www; echo from the neighbour > /www/index.html; exec httpd -f -p 80 -h /www'],
    name: `${network}-neighbour`,
    HostConfig: { NetworkMode: network, Init: true },
  });
  await container.start();
  neighbour = (await container.inspect()).NetworkSettings.Networks[network]?.IPAddress ?? '';
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
  await docker.getContainer(`${network}-neighbour`).remove({ force: true });
  await docker.getNetwork(network).remove();
});
beforeEach(() => rig.explainFailures());

/** What a command in a container of the app prints. */
async function inside(app: string, command: string): Promise<string> {
  return (await rig.gantry('ssh', app, '-c', command)).stdout;
}

test('an app is in more networks and knows more names, over releases and in tasks, until they are taken back', async () => {
  await using repo = await appRepository('web', { version: 'one' });
  const url = await rig.pushUrl('social');
  expect((await repo.push(url)).code).toBe(0);
  const fetchIt = `node -e "fetch('http://neighbour.internal/').then((r) => r.text()).catch(() => 'nobody\\n').then((text) => process.stdout.write(text))"`;
  expect(await inside('social', fetchIt)).toBe('nobody\n');

  const set = await rig.gantry(
    'apps',
    'set',
    'social',
    '--docker-network',
    network,
    '--add-host',
    `neighbour.internal:${neighbour}`,
    'six.internal:2001:db8::6',
  );
  expect(set.stdout).toContain(`docker network  ${network}`);
  expect(set.stdout).toMatch(/host +six\.internal:2001:db8::6\n/);

  await repo.commit({ version: 'two' }, 'two');
  const second = await repo.push(url);
  expect(second.stderr).toContain(`the app is also in ${network}: what is there reaches it`);
  expect(await inside('social', fetchIt)).toBe('from the neighbour\n');
  expect(await inside('social', 'grep six /etc/hosts')).toMatch(/^2001:db8::6\s+six\.internal\n$/);
  expect((await rig.request('social')).body).toBe('two');
  expect((await rig.gantry('run', 'social', '--', 'sh', '-c', fetchIt)).stdout).toBe('from the neighbour\n');
  expect((await rig.gantry('restart', 'social')).code).toBe(0);
  expect(await inside('social', fetchIt)).toBe('from the neighbour\n');
  expect(JSON.parse((await rig.gantry('ps', '--app', 'social', '--json')).stdout)).toMatchObject({
    instances: [expect.objectContaining({ state: 'running' })],
  });

  await rig.gantry('apps', 'set', 'social', '--docker-network', 'none', '--add-host', 'none');
  expect((await rig.gantry('restart', 'social')).code).toBe(0);
  expect(await inside('social', fetchIt)).toBe('nobody\n');

  // A rollback would bring them back.
  const token = await rig.createToken('deployer', ['deploy:social']);
  const back = await rig.gantryIn({ GANTRY_TOKEN: token }, 'rollback', 'v3', '--app', 'social');
  expect(back.code).toBe(3);
  expect(back.stderr).toContain(
    `v3 had the network ${network} and the host neighbour.internal:${neighbour} and`,
  );
  expect((await rig.gantry('rollback', 'v3', '--app', 'social')).code).toBe(0);
  expect(await inside('social', fetchIt)).toBe('from the neighbour\n');
});

test('a network that is not there fails the deployment before anything is done, in a line', async () => {
  await using repo = await appRepository('page');
  await rig.setEnv('lonely', {});
  await rig.gantry('apps', 'set', 'lonely', '--docker-network', 'no-such-network');
  const push = await repo.push(await rig.pushUrl('lonely'));
  expect(push.code).toBe(1);
  expect(push.stderr).toContain('there is no Docker network no-such-network, which the app is to be in');
  expect(push.stderr).toContain('gantry apps set lonely --docker-network none');
  expect(push.stderr).not.toContain('Building');
});

test('only administrators give them, and everybody takes them back', async () => {
  await rig.setEnv('given', {});
  const token = await rig.createToken('ci', ['deploy:given']);
  const set = (...flags: string[]) => rig.gantryIn({ GANTRY_TOKEN: token }, 'apps', 'set', 'given', ...flags);
  for (const flags of [
    ['--add-host', 'db:10.0.0.5'],
    ['--docker-network', network],
  ]) {
    const refused = await set(...flags);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('only an administrator');
  }
  expect((await set('--add-host', 'none', '--docker-network', 'none')).code).toBe(0);
});
