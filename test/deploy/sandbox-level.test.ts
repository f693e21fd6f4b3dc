import { describe, expect, test } from 'vitest';
import { chooseSandbox, describeLevel, type SandboxFacts } from '../../src/deploy/sandbox-level.ts';

const everything: SandboxFacts = {
  isRoot: true,
  missing: [],
  hookUser: 'works',
  bubblewrap: 'works',
  unshare: 'works',
  cgroup: { version: 'v2', isInScope: false },
};
const choose = (wish: 'auto' | 'bubblewrap' | 'unshare', facts: Partial<SandboxFacts>) =>
  chooseSandbox(wish, { ...everything, ...facts }, 'gantry-hook');

describe('the sandbox for hooks', () => {
  test.each([
    ['the strongest walls there are', {}, { walls: 'bubblewrap', limits: 'cgroup v2' }],
    ['unshare without bubblewrap', { bubblewrap: 'missing' }, { walls: 'unshare', limits: 'cgroup v2' }],
    [
      'unshare when bubblewrap fails',
      { bubblewrap: { problem: 'no' } },
      { walls: 'unshare', limits: 'cgroup v2' },
    ],
    [
      'old cgroups',
      { cgroup: { version: 'v1', isInScope: false } },
      { walls: 'bubblewrap', limits: 'cgroup v1' },
    ],
    [
      'a scope of systemd',
      { cgroup: { version: 'v2', isInScope: true } },
      { walls: 'bubblewrap', limits: 'cgroup v2 in a systemd scope' },
    ],
    ['no cgroups', { cgroup: undefined }, { walls: 'bubblewrap', limits: 'per process' }],
  ] as const)('%s', (_, facts, level) => {
    expect(choose('auto', facts)).toEqual({ level });
  });

  test('is the one asked for, or none', () => {
    expect(choose('unshare', {})).toEqual({ level: { walls: 'unshare', limits: 'cgroup v2' } });
    expect(choose('bubblewrap', { bubblewrap: 'missing' })).toEqual({
      refused: 'bubblewrap is not installed',
      fix: 'apt-get install bubblewrap',
    });
    expect(choose('bubblewrap', { bubblewrap: { problem: 'setting up uid map' } })).toMatchObject({
      refused: 'bubblewrap does not work here: setting up uid map',
    });
  });

  test.each([
    [{ isRoot: false }, /does not run as root/],
    [{ missing: ['setpriv'] }, /setpriv is not installed/],
    [{ hookUser: 'missing' }, /no unprivileged user gantry-hook/],
    [{ bubblewrap: 'missing', unshare: { problem: 'Operation not permitted' } }, /Operation not permitted/],
  ] as const)('is refused when it cannot be made: %j', (facts, reason) => {
    const choice = choose('auto', facts);
    expect('refused' in choice && choice.refused).toMatch(reason);
    expect('refused' in choice && choice.fix).not.toBe('');
  });

  test('is described honestly', () => {
    expect(describeLevel({ walls: 'unshare', limits: 'per process' })).toMatch(
      /per process .*no writable cgroup/,
    );
    expect(describeLevel({ walls: 'bubblewrap', limits: 'cgroup v1' })).toMatch(/as a whole \(cgroup v1\)/);
  });
});
