import { afterAll, beforeAll, expect, it } from 'vitest';
import { DockerodeEngine } from '../../src/docker/dockerode-engine.ts';
import { EngineRun } from './engine-run.ts';

let run: EngineRun;

beforeAll(async () => {
  run = await EngineRun.start();
});

afterAll(async () => {
  await run?.[Symbol.asyncDispose]();
});

it('makes a network once, however often and by however many it is asked for', async () => {
  const subnet = await freeSubnet();
  const name = run.name();
  const other = new DockerodeEngine();
  const made = await Promise.all(
    [run.engine, other, run.engine, other].map((engine) => engine.ensureNetwork(name, subnet, run.labels)),
  );
  expect(made).toEqual([true, true, true, true]);
  expect(await run.engine.takenSubnets()).toContain(subnet);
  expect(await run.docker.listNetworks({ filters: { name: [name] } })).toHaveLength(1);

  expect(await run.engine.ensureNetwork(run.name(), subnet, run.labels)).toBe(false);
  const container = await run.docker.createContainer({
    Image: 'gantry-test/base:1',
    Cmd: ['sleep', '600'],
    Labels: run.labels,
    HostConfig: { NetworkMode: name },
  });
  await container.start();
  await expect(run.engine.ensureNetwork(name, '10.199.0.0/28', run.labels)).rejects.toThrow(
    `subnet ${subnet}`,
  );
  await container.remove({ force: true });
  expect(await run.engine.ensureNetwork(name, '10.199.0.0/28', run.labels)).toBe(true);

  await run.engine.removeNetwork(name);
  await run.engine.removeNetwork(name);
  expect(await run.docker.listNetworks({ filters: { name: [name] } })).toEqual([]);
});

/** A subnet that was free a moment ago. */
async function freeSubnet(): Promise<string> {
  const { name, prefix } = await run.network();
  await run.engine.removeNetwork(name);
  return `${prefix}.0/27`;
}
