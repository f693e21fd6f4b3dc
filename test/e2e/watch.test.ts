import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { localDocker } from '../support/base-image.ts';
import { type Received, startReceiver } from '../support/receiver.ts';
import { appRepository, Rig, until } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start({
    GANTRY_HEALTH_TIMEOUT: '10',
    GANTRY_STOP_TIMEOUT: '1',
    GANTRY_ALLOW_INTERNAL_ADDRESSES: '127.0.0.0/8',
  });
});
afterAll(() => rig[Symbol.asyncDispose]());
beforeEach(() => rig.explainFailures());

type Shown = {
  number: number;
  state: string;
  trigger: string;
  by: string;
  rollbackTo: number | null;
  crash: string | null;
};
type Event = { type: string; data: { number: number; reason: string | null; trigger: string } };

/** A server that answers, and does something a while after. */
function serving(version: string, then: string): Record<string, string> {
  return {
    version,
    'server.js': `
      process.on('SIGTERM', () => process.exit(0));
      require('node:http').createServer((req, res) => res.end(${JSON.stringify(version)}))
        .listen(process.env.PORT, () => { ${then} });`,
  };
}

const soon = (what: string, ms = 3000): string => `setTimeout(() => { ${what} }, ${ms});`;
const crash = `console.error('out of luck with ' + process.env.PASSWORD); process.exit(3);`;

async function deployments(app: string): Promise<Shown[]> {
  const { body } = await rig.api('GET', `/apps/${app}/deployments`);
  return (JSON.parse(body) as { deployments: Shown[] }).deployments;
}

async function listen(app: string) {
  const receiver = await startReceiver();
  await rig.api('POST', '/apps', { name: app });
  await rig.gantry('webhooks', 'out', 'add', receiver.url, '--app', app);
  const events = (): Event[] => receiver.received.map(({ body }: Received) => JSON.parse(body) as Event);
  return {
    events,
    of: (type: string): Event[] => events().filter((event) => event.type === type),
    [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose](),
  };
}

describe('a release that crashes soon after it went live', () => {
  test('is replaced by the one before, and every place says so', async () => {
    await using told = await listen('shop');
    await using repo = await appRepository('web', serving('one', ''));
    const url = await rig.pushUrl('shop');
    await rig.setEnv('shop', { PASSWORD: 'sesame-seed', COLOUR: 'red' });
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit(serving('two', soon(crash)), 'Break it');
    await rig.setEnv('shop', { COLOUR: 'green' });
    const push = await repo.push(url);
    expect(push.stderr).toContain('shop v2 is live');
    expect(push.code).toBe(0);

    await until('v1 is put back', async () => (await deployments('shop'))[0]?.number === 3);
    const began = performance.now();
    await until('it is live', async () => (await deployments('shop'))[0]?.state === 'live');
    console.log(`switched back within ${Math.round(performance.now() - began)} ms after the crash was seen`);
    expect((await rig.request('shop')).body).toBe('one');
    const [third, second, first] = await deployments('shop');
    const line = /^crashed \ds after it went live: it exited with code 3; v1 is put back by deploy #3$/;
    expect(third).toMatchObject({
      state: 'live',
      trigger: 'crash',
      by: 'gantry',
      rollbackTo: 1,
      crash: null,
    });
    expect(second).toMatchObject({
      state: 'live',
      trigger: 'push',
      crash: expect.stringMatching(line) as string,
    });
    expect(first).toMatchObject({ state: 'live', crash: null });

    expect((await rig.gantry('releases', '--app', 'shop')).stdout).toMatch(
      /^v3 +live [^]*^v2 +crashed [^]*^v1 +kept /m,
    );
    expect((await rig.gantry('deploys', '--app', 'shop')).stdout).toMatch(/^#2 +live .*crashed \ds after/m);
    const log = await rig.gantry('logs', '--app', 'shop', '--deploy', '2');
    expect(log.stdout).toMatch(
      /success: shop v2 is live[^]*error: it crashed \ds after it went live: it exited/,
    );
    expect(log.stdout).toContain('out of luck with ');
    expect(log.stdout).not.toContain('sesame-seed');
    const back = await rig.gantry('logs', '--app', 'shop', '--deploy', '3');
    expect(back.stdout).toContain('back to v1');
    expect(back.stdout).toContain('because v2 crashed');

    // Nobody asked for other settings.
    expect(JSON.parse((await rig.api('GET', '/apps/shop/env')).body)).toMatchObject({
      env: { COLOUR: 'green' },
    });
    const good = (await repo.git('rev-parse', 'HEAD~1')).stdout.trim();
    await until('the branch follows', async () =>
      (await repo.git('ls-remote', url, 'main')).stdout.startsWith(good),
    );
    await until('all is told', () => told.of('release.rolled_back').length === 1);
    expect(told.of('release.crashed')).toMatchObject([
      { data: { number: 2, reason: expect.stringMatching(line) as string } },
    ]);
    expect(told.of('app.crashed')).toMatchObject([
      {
        data: {
          number: 2,
          reason: expect.stringMatching(/exited with code 3; it said last: out of luck/) as string,
        },
      },
    ]);
    expect(told.of('deploy.succeeded').map(({ data }) => data.number)).toEqual([1, 2, 3]);

    await repo.commit(serving('three', ''), 'Mend it');
    const next = await repo.push(url);
    expect(next.stderr).toMatch(
      /deploy #2 \([0-9a-f]{7}\) crashed \ds after it went live: .* v1 is put back by deploy #3/,
    );
    expect(next.stderr).toContain('shop v4 is live');
    // Of what went before, what crashed is not gone back to.
    const rollback = await rig.gantry('rollback', '--app', 'shop');
    expect(rollback.stdout).toMatch(/back to v3/);
  });

  test('stays when nothing was live before it', async () => {
    await using repo = await appRepository('web', serving('one', soon(crash)));
    expect((await repo.push(await rig.pushUrl('first'))).code).toBe(0);
    await until('it says so', async () =>
      /no release was live before it/.test((await deployments('first'))[0]?.crash ?? ''),
    );
    expect(await deployments('first')).toHaveLength(1);
  });

  test('stays when it was put back itself: no ping-pong', async () => {
    const onceOnly = `if (!/-v1-/.test(process.env.INSTANCE_ID)) ${soon('process.exit(4)')}`;
    await using repo = await appRepository('web', serving('one', onceOnly));
    const url = await rig.pushUrl('pong');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit(serving('two', soon(crash)), 'Break it');
    expect((await repo.push(url)).code).toBe(0);
    await until('that says so', async () =>
      /had itself been put back/.test((await deployments('pong'))[0]?.crash ?? ''),
    );
    expect((await deployments('pong')).map(({ number }) => number)).toEqual([3, 2, 1]);
  });

  test('stays when somebody has pushed since', async () => {
    await using repo = await appRepository('web', serving('one', ''));
    const url = await rig.pushUrl('pushed');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit(serving('two', soon(crash, 4000)), 'Break it');
    expect((await repo.push(url)).code).toBe(0);
    await rig.setEnv('pushed', { CC_PRE_BUILD_HOOK: 'sleep 6' });
    await repo.commit(serving('three', ''), 'Mend it');
    expect((await repo.push(url)).code).toBe(0);
    expect((await deployments('pushed')).map(({ trigger }) => trigger)).toEqual(['push', 'push', 'push']);
    expect((await rig.request('pushed')).body).toBe('three');
  });

  test('stays when the app does not want to be watched; that it goes on and on is told once', async () => {
    await using told = await listen('calm');
    await using repo = await appRepository('web', serving('one', ''));
    const url = await rig.pushUrl('calm');
    await rig.setEnv('calm', { GANTRY_MONITOR_WINDOW: '0' });
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit(serving('two', soon(crash, 300)), 'Break it');
    expect((await repo.push(url)).stderr).toContain('calm v2 is live');
    await until('it is told', () => told.of('app.crash_looping').length === 1, 60_000);
    expect(told.of('app.crash_looping')[0]?.data.reason).toMatch(
      /^v2 ends again and again, \d times so far \(it exited with code 3; it said last: out of luck .*\); it is started again after ever longer pauses/,
    );
    expect(told.of('app.crashed')).toHaveLength(1);
    expect(await deployments('calm')).toHaveLength(2);
    expect((await deployments('calm'))[0]?.crash).toBeNull();
    await repo.commit(serving('three', ''), 'Mend it');
    expect((await repo.push(url)).stderr).toContain('calm v3 is live');
    expect(told.of('app.crash_looping')).toHaveLength(1);
  });

  test('is not one that somebody stopped or removed by hand', async () => {
    await using repo = await appRepository('web', serving('one', ''));
    const url = await rig.pushUrl('handled');
    expect((await repo.push(url)).code).toBe(0);
    await repo.commit(serving('two', ''), 'Change it');
    expect((await repo.push(url)).code).toBe(0);
    const live = async (): Promise<string> => {
      const label = [`gantry.store=${await rig.storeId}`, 'gantry.app=handled', 'gantry.release=2'];
      return (await localDocker().listContainers({ filters: { label } }))[0]?.Id ?? '';
    };
    const before = await live();
    await localDocker().getContainer(before).restart({ t: 0 });
    await until('it is back', async () => (await live()) === before);
    await localDocker().getContainer(before).remove({ force: true });
    await until('there is another', async () => ![before, ''].includes(await live()));
    await until('it serves', async () => (await rig.request('handled')).body === 'two');
    expect(await deployments('handled')).toHaveLength(2);
    expect((await deployments('handled'))[0]?.crash).toBeNull();
  });
});
