import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findDockerfile } from '../../src/deploy/find-dockerfile.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'gantry-find-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('finds a file, also behind a link that stays inside', async () => {
  await mkdir(join(dir, 'docker'));
  await writeFile(join(dir, 'docker/Dockerfile'), 'FROM scratch');
  await symlink('docker/Dockerfile', join(dir, 'Dockerfile'));
  expect(await findDockerfile(dir, 'Dockerfile')).toEqual({ path: 'docker/Dockerfile' });
  expect(await findDockerfile(dir, 'docker/../docker/Dockerfile')).toEqual({ path: 'docker/Dockerfile' });
});

test.each([
  ['/etc/passwd', 'Dockerfile'],
  ['../../../../../../etc/passwd', 'Dockerfile'],
  ['/etc', 'docker'],
])('refuses a link to %s', async (target, name) => {
  await symlink(target, join(dir, name));
  const found = await findDockerfile(dir, name === 'docker' ? 'docker/passwd' : name);
  expect(found).toMatchObject({ problem: { reason: 'the Dockerfile must be inside the repository' } });
});

test('refuses a folder, the checkout itself and a loop', async () => {
  await mkdir(join(dir, 'Dockerfile'));
  expect(await findDockerfile(dir, 'Dockerfile')).toMatchObject({
    problem: { reason: 'Dockerfile is not a file' },
  });
  expect(await findDockerfile(dir, '.')).toHaveProperty('problem');
  await symlink('loop', join(dir, 'loop'));
  expect(await findDockerfile(dir, 'loop')).toHaveProperty('problem');
});

test.each(['docker/Dockerfile', 'dockerfile', 'build/app.Dockerfile', 'Containerfile'])(
  'names %s when there is no Dockerfile',
  async (name) => {
    await mkdir(join(dir, name, '..'), { recursive: true });
    await writeFile(join(dir, name), 'FROM scratch');
    const found = await findDockerfile(dir, 'Dockerfile');
    expect(found).toMatchObject({
      problem: {
        reason: 'no Dockerfile',
        hints: [expect.stringContaining(`CC_DOCKERFILE=${name}`) as string],
      },
    });
  },
);
