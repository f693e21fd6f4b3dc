import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import examples from '@octokit/webhooks-examples';
import { describe, expect, test } from 'vitest';
import type { WebhookEvent, WebhookProvider } from '../../src/domain/webhook.ts';
import { deliveryId, readDelivery } from '../../src/webhooks/read-delivery.ts';

const [before, after] = ['1'.repeat(40), '2'.repeat(40)];
const gone = '0'.repeat(40);

function read(
  provider: WebhookProvider,
  headers: IncomingHttpHeaders,
  payload: unknown,
  branch = 'main',
): WebhookEvent {
  return readDelivery({ provider, headers, body: Buffer.from(JSON.stringify(payload)) }, branch);
}

describe('GitHub', () => {
  const all = examples as unknown as { name: string; examples: Record<string, unknown>[] }[];

  test('every event it documents is understood', () => {
    const kinds = all.flatMap(({ name, examples: payloads }) =>
      payloads.map((payload) => `${name} ${read('github', { 'x-github-event': name }, payload).kind}`),
    );
    expect(new Set(kinds.filter((kind) => !kind.endsWith(' nothing')))).toEqual(
      new Set(['ping ping', 'push push']),
    );
    expect(kinds.length).toBeGreaterThan(200);
  });

  test('a push to a branch', () => {
    const pushes = all.find(({ name }) => name === 'push')?.examples ?? [];
    const payload = pushes.find(
      ({ ref, head_commit: head }) => String(ref).startsWith('refs/heads/') && head !== null,
    );
    expect(read('github', { 'x-github-event': 'push' }, payload)).toMatchObject({
      kind: 'push',
      branch: 'master',
      commit: '6113728f27ae82c7b1a177c8d03f9e96e0adf246',
      before: undefined,
      repositories: expect.arrayContaining(['https://github.com/Codertocat/Hello-World.git']) as string[],
    });
  });

  test('inside a form', () => {
    const push = {
      ref: 'refs/heads/main',
      before,
      after,
      repository: {},
      head_commit: { id: after, message: 'A+B' },
    };
    const body = Buffer.from(new URLSearchParams({ payload: JSON.stringify(push) }).toString());
    const headers = { 'x-github-event': 'push', 'content-type': 'application/x-www-form-urlencoded' };
    expect(readDelivery({ provider: 'github', headers, body }, 'main')).toMatchObject({
      commit: after,
      subject: 'A+B',
    });
  });
});

/** As their documentation shows them, without what is of no use here. */
describe('others', () => {
  const message = 'Add a page\n\nbecause.';

  test('GitLab', () => {
    const payload = {
      object_kind: 'push',
      ref: 'refs/heads/main',
      before,
      after,
      checkout_sha: after,
      commits: [
        { id: before, message: 'Older' },
        { id: after, message },
      ],
      project: { git_http_url: 'https://gitlab.example/a/b.git', git_ssh_url: 'git@gitlab.example:a/b.git' },
    };
    expect(read('gitlab', { 'x-gitlab-event': 'Push Hook' }, payload)).toMatchObject({
      kind: 'push',
      branch: 'main',
      before,
      commit: after,
      subject: 'Add a page',
      repositories: ['https://gitlab.example/a/b.git', 'git@gitlab.example:a/b.git'],
    });
    const deleted = { ...payload, after: gone, checkout_sha: null };
    expect(read('gitlab', { 'x-gitlab-event': 'Push Hook' }, deleted)).toMatchObject({
      kind: 'nothing',
      reason: 'the branch main was deleted',
    });
    expect(read('gitlab', { 'x-gitlab-event': 'Tag Push Hook' }, payload)).toMatchObject({ kind: 'nothing' });
  });

  test.each(['gitea', 'forgejo'] as const)('%s', (provider) => {
    const payload = {
      ref: 'refs/heads/feature/a-b',
      before,
      after,
      commits: [{ id: after, message }],
      head_commit: { id: after, message },
      repository: { clone_url: 'https://gitea.example/a/b.git', ssh_url: 'git@gitea.example:a/b.git' },
    };
    const headers = { [`x-${provider}-event`]: 'push' };
    expect(read(provider, headers, payload)).toMatchObject({
      kind: 'push',
      branch: 'feature/a-b',
      commit: after,
    });
  });

  test('Bitbucket Cloud, with several branches at once', () => {
    const side = (name: string, hash: string) => ({ type: 'branch', name, target: { hash, message } });
    const payload = {
      push: {
        changes: [
          { old: side('other', before), new: side('other', before) },
          { old: side('main', before), new: side('main', after) },
          { old: side('dead', before), new: null },
        ],
      },
      repository: { full_name: 'a/b', links: { html: { href: 'https://bitbucket.org/a/b' } } },
    };
    const headers = { 'x-event-key': 'repo:push' };
    expect(read('bitbucket', headers, payload)).toMatchObject({ branch: 'main', before, commit: after });
    expect(read('bitbucket', headers, payload, 'other')).toMatchObject({ branch: 'other', commit: before });
    const onlyDeleted = { ...payload, push: { changes: [payload.push.changes[2]] } };
    expect(read('bitbucket', headers, onlyDeleted)).toMatchObject({ kind: 'nothing' });
  });

  test('Bitbucket Data Center', () => {
    const payload = {
      changes: [{ refId: 'refs/heads/main', fromHash: before, toHash: after, type: 'UPDATE' }],
      repository: { links: { clone: [{ href: 'https://bitbucket.example/scm/a/b.git' }] } },
    };
    expect(read('bitbucket', { 'x-event-key': 'repo:refs_changed' }, payload)).toMatchObject({
      branch: 'main',
      commit: after,
      repositories: ['https://bitbucket.example/scm/a/b.git'],
    });
    expect(read('bitbucket', { 'x-event-key': 'diagnostics:ping' }, { test: true })).toEqual({
      kind: 'ping',
    });
  });

  test('anybody', () => {
    expect(read('generic', {}, { ref: 'refs/heads/main', after })).toMatchObject({
      branch: 'main',
      commit: after,
    });
    expect(read('generic', {}, { ref: 'refs/tags/v1', after })).toMatchObject({ kind: 'nothing' });
  });
});

describe('what makes no sense is refused in one line', () => {
  test.each([
    ['not JSON', 'github', { 'x-github-event': 'push' }, '{', /not JSON/],
    ['nothing', 'generic', {}, '', /not JSON/],
    ['no object', 'generic', {}, '[]', /makes no sense/],
    ['no commit', 'generic', {}, '{"ref":"refs/heads/main","after":"HEAD; rm -rf /"}', /not the id/],
    ['a number for a ref', 'gitlab', { 'x-gitlab-event': 'Push Hook' }, '{"ref":1}', /ref/],
  ] as const)('%s', (_, provider, headers, text, reason) => {
    expect(() => readDelivery({ provider, headers, body: Buffer.from(text) }, 'main')).toThrow(reason);
  });

  test('a ref with control characters is no branch', () => {
    expect(read('generic', {}, { ref: 'refs/heads/a\u001b[2Jb', after })).toMatchObject({ kind: 'nothing' });
  });
});

test('a delivery is known by its header, or by what it says', () => {
  const body = Buffer.from('{}');
  const id = (provider: WebhookProvider, headers: IncomingHttpHeaders): string =>
    deliveryId({ provider, headers, body });
  expect(id('github', { 'x-github-delivery': 'abc-1' })).toBe('abc-1');
  expect(id('gitlab', { 'x-gitlab-event-uuid': 'u', 'webhook-id': 'w' })).toBe('w');
  expect(id('generic', {})).toBe(createHash('sha256').update(body).digest('hex').slice(0, 32));
  expect(id('github', { 'x-github-delivery': 'with space' })).toHaveLength(32);
});
