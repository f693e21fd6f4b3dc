import { describe, expect, test } from 'vitest';
import { containerConfig } from '../../src/docker/container-config.ts';
import type { ContainerSpec } from '../../src/domain/container.ts';

const spec: ContainerSpec = {
  name: 'web-v1',
  image: 'web:1',
  labels: {},
  env: {},
  network: 'web',
  address: '10.0.0.2',
  pidsLimit: 100,
};

describe('on an engine that remaps users', () => {
  test('a container keeps its own', () => {
    expect(containerConfig(spec, true).HostConfig?.UsernsMode).toBeUndefined();
  });

  test.each([
    ['network of the host', { network: 'host', address: '127.0.0.1' }],
    ['Docker socket', { dockerSocket: '/var/run/docker.sock' }],
  ])('one with the %s has those of the host, else the engine or the socket would refuse it', (_, change) => {
    expect(containerConfig({ ...spec, ...change }, true).HostConfig?.UsernsMode).toBe('host');
    expect(containerConfig({ ...spec, ...change }, false).HostConfig?.UsernsMode).toBeUndefined();
  });
});

test('the socket is mounted where the docker command looks for it, wherever the engine has it', () => {
  const { HostConfig } = containerConfig({ ...spec, dockerSocket: '/run/user/1000/docker.sock' });
  expect(HostConfig?.Mounts).toEqual([
    { Type: 'bind', Source: '/run/user/1000/docker.sock', Target: '/var/run/docker.sock' },
  ]);
});
