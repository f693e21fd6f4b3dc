import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GitResult } from '../support/git.ts';
import { type Registry, registryPassword, registryUser, startRegistry } from '../support/registry.ts';
import { publish } from '../support/registry-images.ts';
import { Rig } from '../support/rig.ts';

let rig: Rig;
let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry();
  rig = await Rig.start({ GANTRY_HEALTH_TIMEOUT: '10' });
});
afterAll(async () => {
  await rig?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

async function push(manifest: string, ...options: string[]): Promise<GitResult> {
  await writeFile(join(rig.dataDir, 'manifest.yml'), manifest);
  return rig.gantryIn({ CF_DOCKER_PASSWORD: registryPassword }, 'push', ...options);
}

async function apps(): Promise<string[]> {
  const { body } = await rig.api('GET', '/apps');
  return (JSON.parse(body) as { apps: { name: string }[] }).apps.map(({ name }) => name);
}

test('deploys its apps in order, with anchors and variables, and names what it leaves out', async () => {
  const script = 'echo "$GREETING from $WHO" > /tmp/index.html; exec httpd -f -p $PORT -h /tmp';
  await publish(registry.host, 'app:1', { config: { Cmd: ['sh', '-c', script] } });
  await writeFile(join(rig.dataDir, 'vars.yml'), 'registry: overridden\ncount: 2\n');
  for (const name of ['mail', 'sms']) await rig.api('POST', '/services', { name, credentials: {} });
  const pushed = await push(
    `---
version: 1
defaults: &defaults
  docker: {image: ((registry))/app:1, username: ${registryUser}}
  memory: 64M
  disk_quota: 1G
applications:
- name: front
  <<: *defaults
  instances: ((count))
  routes: [{route: front.example.com}]
  health-check-type: http
  env: &env {GREETING: hello, WHO: front}
- name: back
  <<: *defaults
  env: {<<: *env, WHO: back}
  services: [mail, {name: sms}]
`,
    '--vars-file',
    'vars.yml',
    '--var',
    `registry=${registry.host}`,
  );
  expect(pushed.stderr).toMatch(/warning: "defaults" is not known, and not used/);
  expect(pushed.stderr).toMatch(/warning: front: disk_quota is not used/);
  expect(pushed.stdout).toMatch(/with its services: mail, sms/);
  expect(pushed.stdout).toMatch(/Starting v1, 2 instances[^]*front v1 is live[^]*back v1 is live/);
  expect(pushed.code).toBe(0);
  expect((await rig.request('front')).body).toBe('hello from front\n');
  expect((await rig.requestHost('front.example.com')).body).toBe('hello from front\n');
  expect((await rig.request('back')).body).toBe('hello from back\n');
  expect((await rig.gantry('apps', 'show', 'front')).stdout).toMatch(
    /memory +64M[^]*instances +2[^]*health check +http/,
  );

  // Again, of one app only.
  const again = await push(
    `applications: [{name: other, docker: {image: x}}, {name: back, docker: {image: ${registry.host}/app:1}, env: {WHO: one}}]`,
    'back',
  );
  expect(again.stdout).toMatch(/back v2 is live/);
  expect((await rig.request('back')).body).toBe('hello from one\n');
  expect(await apps()).toEqual(['back', 'front']);
});

test('stops at the first app that fails', async () => {
  const image = `${registry.host}/nothing:1`;
  const pushed = await push(
    `applications: [{name: first, docker: {image: ${image}, username: ${registryUser}}}, {name: second, docker: {image: ${image}}}]`,
  );
  expect(pushed.stdout).toMatch(/cannot pull .*nothing:1: the registry has no such image or tag/);
  expect(pushed.code).toBe(6);
  expect(await apps()).not.toContain('second');
});

describe('does nothing with one that is', () => {
  test.each([
    ['no YAML', 'applications: [', /is no YAML/],
    ['no manifest', 'hello', /not made of keys and values/],
    [
      'wrong in its last app',
      'applications: [{name: bomb, docker: {image: x}}, {name: bomb2}]',
      /bomb2: it has no docker.image/,
    ],
    [
      'for buildpacks as well',
      'applications: [{name: bomb, docker: {image: x}, buildpacks: [y]}]',
      /nothing builds it/,
    ],
    [
      'without the value of a variable',
      'applications: [{name: bomb, docker: {image: ((x))}}]',
      /\(\(x\)\) has no value/,
    ],
    ['a bomb of aliases', bomb(), /is no YAML: .*alias/i],
    ['nested without end', '['.repeat(200_000), /is no YAML/],
    ['too large', `# ${'x'.repeat(5 * 1024 ** 2)}`, /5242882 bytes; a manifest has at most 1 MiB/],
  ])('%s', async (_, manifest, reason) => {
    const began = performance.now();
    const pushed = await push(manifest);
    expect(pushed.stderr).toMatch(reason);
    expect(pushed.code).toBe(2);
    expect(performance.now() - began).toBeLessThan(20_000);
    expect((await apps()).filter((name) => name.startsWith('bomb'))).toEqual([]);
  });

  test('not there', async () => {
    const pushed = await rig.gantry('push', '-f', 'missing.yml');
    expect(pushed.stderr).toMatch(/missing.yml cannot be read/);
    expect(pushed.code).toBe(2);
  });
});

/** Ten aliases of ten aliases of ten aliases. */
function bomb(): string {
  const levels = Array.from(
    { length: 9 },
    (_, level) => `a${level + 1}: &a${level + 1} [${Array(10).fill(`*a${level}`).join(', ')}]`,
  );
  return ['a0: &a0 [x]', ...levels, 'applications: *a9', ''].join('\n');
}
