import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { prepareGitProcess } from '../../src/git/git-environment.ts';

const before = { ...process.env };
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
});

it('git gets our settings and nobody else’s', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gantry-settings-'));
  Object.assign(process.env, {
    GIT_DIR: '/elsewhere',
    GIT_TRACE: '2',
    GIT_CONFIG_COUNT: '1',
    GIT_SSH_COMMAND: 'evil',
  });
  await prepareGitProcess({ folder, hookSocket: '/run/hook.sock', maxPushBytes: 1234 });

  expect(
    Object.keys(process.env)
      .filter((name) => name.startsWith('GIT_'))
      .toSorted(),
  ).toEqual([
    'GIT_ATTR_NOSYSTEM',
    'GIT_CONFIG_GLOBAL',
    'GIT_CONFIG_NOSYSTEM',
    'GIT_NO_REPLACE_OBJECTS',
    'GIT_TERMINAL_PROMPT',
  ]);
  const settings = execFileSync('git', ['config', '--list'], { cwd: folder, encoding: 'utf8' }).split('\n');
  expect(settings).toEqual(
    expect.arrayContaining([
      'receive.procreceiverefs=refs',
      'receive.maxinputsize=1234',
      'receive.fsckobjects=true',
      'receive.fsck.zeropaddedfilemode=ignore',
      'transfer.hiderefs=refs/gantry',
      'core.fsync=committed,reference',
      `core.hookspath=${join(import.meta.dirname, '../../hooks')}`,
    ]),
  );
  await rm(folder, { recursive: true });
});
