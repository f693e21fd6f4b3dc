import { describe, expect, it } from 'vitest';
import type { CommitSha } from '../../src/domain/app.ts';
import { decidePush, type PushedApp } from '../../src/git/pushed-refs.ts';

const none = '0'.repeat(40);
const a = 'a'.repeat(40) as CommitSha;
const b = 'b'.repeat(40) as CommitSha;

const fresh: PushedApp = { branch: '' };
const onMain: PushedApp = { branch: 'main', liveCommit: a };

/** "refs/heads/main", "-refs/heads/main" for a deletion, all pushing commit b. */
function update(text: string, newSha: string = b) {
  const isDeletion = text.startsWith('-');
  return { ref: text.replace(/^-/, ''), oldSha: none, newSha: isDeletion ? none : newSha };
}

function decide(app: PushedApp, refs: string[], options: string[] = [], newSha?: string) {
  return decidePush(
    refs.map((ref) => update(ref, newSha)),
    options,
    app,
  ).refs;
}

function summary(app: PushedApp, refs: string[]) {
  return decide(app, refs).map((decision) => (decision.kind === 'refuse' ? decision.reason : decision.kind));
}

describe('which ref deploys', () => {
  it.each<[string, PushedApp, string[], string[]]>([
    ['the only branch of a first push', fresh, ['refs/heads/trunk'], ['deploy']],
    ['main among several', fresh, ['refs/heads/x', 'refs/heads/main'], ['not the deploy branch', 'deploy']],
    [
      'main before master',
      fresh,
      ['refs/heads/master', 'refs/heads/main'],
      ['not the deploy branch', 'deploy'],
    ],
    [
      'master among others',
      fresh,
      ['refs/heads/x', 'refs/heads/master'],
      ['not the deploy branch', 'deploy'],
    ],
    ['else the first', fresh, ['refs/heads/x', 'refs/heads/y'], ['deploy', 'not the deploy branch']],
    ['no tag', fresh, ['refs/tags/v1'], ['store']],
    ['a branch beside tags', fresh, ['refs/tags/v1', 'refs/heads/x'], ['store', 'deploy']],
    ['the branch of the app', onMain, ['refs/heads/main'], ['deploy']],
    ['only the branch of the app', onMain, ['refs/heads/master'], ['not the deploy branch']],
    ['no deletion of it', onMain, ['-refs/heads/main'], ['branches cannot be deleted']],
    ['no deletion on a first push', fresh, ['-refs/heads/main'], ['branches cannot be deleted']],
    ['no deletion of a tag, but it is allowed', onMain, ['-refs/tags/v1'], ['store']],
    ['no notes', onMain, ['refs/notes/commits'], ['neither a branch nor a tag']],
    [
      'no namespace of its own',
      onMain,
      ['refs/foo', 'refs/for/main'],
      Array(2).fill('neither a branch nor a tag'),
    ],
    [
      'not a look-alike',
      onMain,
      ['refs/heads/refs/heads/main', 'refs/heads/HEAD'],
      Array(2).fill('not the deploy branch'),
    ],
    ['no option as a first branch', fresh, ['refs/heads/-x'], ['not a usable branch name']],
    ['no HEAD as a first branch', fresh, ['refs/heads/HEAD'], ['not a usable branch name']],
    ['nothing invisible as a first branch', fresh, ['refs/heads/a\u200bb'], ['not a usable branch name']],
    ['redeploy is never the first branch', fresh, ['refs/heads/redeploy'], ['nothing is live yet']],
    [
      'no second deployment',
      onMain,
      ['refs/heads/redeploy', 'refs/heads/main'],
      ['one deployment per push', 'deploy'],
    ],
    ['redeploy of something new', onMain, ['refs/heads/redeploy'], ['not the live commit']],
    [
      'an app that deploys its branch "redeploy"',
      { branch: 'redeploy' },
      ['refs/heads/redeploy'],
      ['deploy'],
    ],
    ['a push of nothing', onMain, [], []],
  ])('%s', (_name, app, refs, expected) => {
    expect(summary(app, refs)).toEqual(expected);
  });

  it('says which branch and which commit', () => {
    expect(decide(fresh, ['refs/heads/feature/x'])).toEqual([
      { kind: 'deploy', ref: 'refs/heads/feature/x', branch: 'feature/x', sha: b },
    ]);
  });

  it('deploys the live commit again through a branch that never exists', () => {
    expect(decide(onMain, ['refs/heads/redeploy'], [], a)).toEqual([
      { kind: 'redeploy', ref: 'refs/heads/redeploy', branch: 'main', sha: a },
    ]);
  });
});

describe('what a refused pusher reads', () => {
  it('names the branch that deploys and the command that does it', () => {
    expect(decide(onMain, ['refs/heads/feature/x'])).toEqual([
      {
        kind: 'refuse',
        ref: 'refs/heads/feature/x',
        reason: 'not the deploy branch',
        lines: [
          { kind: 'error', text: 'only "main" deploys; you pushed "feature/x"' },
          { kind: 'hint', text: 'git push clever feature/x:main' },
        ],
      },
    ]);
  });

  it.each([
    ['refs/heads/\u001b[31mred', '\\u001b[31mred'],
    ['refs/heads/a\u202egnp.exe', 'a\\u202egnp.exe'],
    ['refs/heads/zero\u200bwidth', 'zero\\u200bwidth'],
    [`refs/heads/${'x'.repeat(4000)}`, `${'x'.repeat(97)}...`],
  ])('shows %j harmlessly and does not suggest to type it', (ref, shown) => {
    expect(decide(onMain, [ref])).toMatchObject([
      {
        lines: [
          { text: `only "main" deploys; you pushed "${shown}"` },
          { text: 'git push clever HEAD:main' },
        ],
      },
    ]);
  });

  it('hears about an unknown option once, and nothing is deployed or stored', () => {
    expect(decide(onMain, ['refs/heads/main', 'refs/tags/v1'], ['detach', 'e\u001bvil'])).toEqual([
      {
        kind: 'refuse',
        ref: 'refs/heads/main',
        reason: 'unknown push option',
        lines: [
          { kind: 'error', text: 'unknown push option "e\\u001bvil"; known are detach and no-cache' },
          { kind: 'hint', text: 'git push -o no-cache clever main' },
        ],
      },
      { kind: 'refuse', ref: 'refs/tags/v1', reason: 'unknown push option', lines: [] },
    ]);
  });
});

it.each([
  [[], { detach: false, noCache: false }],
  [['detach'], { detach: true, noCache: false }],
  [['no-cache', 'detach', 'detach'], { detach: true, noCache: true }],
])('understands the options %j', (options, expected) => {
  expect(decidePush([update('refs/heads/main')], options, onMain).options).toEqual(expected);
});
