import { describe, expect, test } from 'vitest';
import type { DeploymentState } from '../../src/domain/deployment.ts';
import { type EventPayload, testPayload } from '../../src/domain/outgoing-webhook.ts';
import { judgeStatusAnswer, statusRequest } from '../../src/webhooks/commit-status.ts';

const commit = 'a'.repeat(40);

function payload(state: DeploymentState, reason: string | null = null, app = 'shop'): EventPayload {
  const { data, ...rest } = testPayload('*', 'http://shop.example', new Date(0));
  return { ...rest, data: { ...data, app, number: 7, state, commit, reason, branch: 'main' } };
}

function requestTo(provider: string, repository: string, sent = payload('live')) {
  const request = statusRequest(provider, repository, 'the-token', sent);
  if ('problem' in request) throw new Error(request.problem);
  return { ...request, body: JSON.parse(request.body) as Record<string, unknown> };
}

describe('the status of a commit', () => {
  test.each([
    ['github', 'https://github.com/ana/shop.git', 'https://api.github.com/repos/ana/shop/statuses/'],
    ['github', 'git@github.com:ana/shop.git', 'https://api.github.com/repos/ana/shop/statuses/'],
    ['github', 'ssh://git@ssh.github.com:443/ana/shop', 'https://api.github.com/repos/ana/shop/statuses/'],
    ['github', 'https://ghe.example/ana/shop', 'https://ghe.example/api/v3/repos/ana/shop/statuses/'],
    [
      'gitlab',
      'https://gitlab.com/a/b/shop.git',
      'https://gitlab.com/api/v4/projects/a%2Fb%2Fshop/statuses/',
    ],
    [
      'gitlab',
      'ssh://git@gl.example:2222/a/shop.git',
      'https://gl.example/api/v4/projects/a%2Fshop/statuses/',
    ],
    [
      'gitea',
      'https://gt.example:3000/ana/shop.git',
      'https://gt.example:3000/api/v1/repos/ana/shop/statuses/',
    ],
    ['forgejo', 'https://x.example/git/ana/shop', 'https://x.example/git/api/v1/repos/ana/shop/statuses/'],
    ['bitbucket', 'https://bb.example/scm/P/shop.git', 'https://bb.example/rest/build-status/1.0/commits/'],
  ])('of %s for %s goes where its API is', (provider, repository, url) => {
    expect(requestTo(provider, repository).url).toBe(url + commit);
  });

  test('of Bitbucket’s cloud is a build', () => {
    const app = 'an-app-with-a-name-of-forty-characters-0';
    const { url, body, headers } = requestTo(
      'bitbucket',
      'https://ana@bitbucket.org/ana/shop.git',
      payload('cancelled', null, app),
    );
    expect(url).toBe(`https://api.bitbucket.org/2.0/repositories/ana/shop/commit/${commit}/statuses/build`);
    expect(headers.authorization).toBe('Bearer the-token');
    expect(body).toMatchObject({ state: 'STOPPED', name: `gantry/${app}`, url: 'http://shop.example' });
    expect(String(body.key)).toMatch(/^gantry\/an-app-with-[a-z-]+-[0-9a-f]{8}$/);
    expect(String(body.key)).toHaveLength(40);
  });

  test.each([
    ['queued', 'pending', 'pending', 'deploy #7 is queued'],
    ['running', 'pending', 'running', 'deploy #7 has started'],
    ['live', 'success', 'success', 'v7 is live'],
    ['failed', 'failure', 'failed', 'deploy #7 failed in build: it broke'],
    ['cancelled', 'error', 'canceled', 'deploy #7 failed in build: it broke'],
    ['superseded', 'error', 'canceled', 'deploy #7 failed in build: it broke'],
  ] as const)('%s is %s at GitHub and %s at GitLab', (state, github, gitlab, description) => {
    const sent = payload(state, 'failed in build: it broke');
    const told = { description, target_url: 'http://shop.example' };
    expect(requestTo('github', 'https://github.com/a/b', sent).body).toEqual({
      ...told,
      state: github,
      context: 'gantry/shop',
    });
    expect(requestTo('gitea', 'https://gitea.com/a/b', sent).body).toEqual({
      ...told,
      state: github,
      context: 'gantry/shop',
    });
    expect(requestTo('gitlab', 'https://gitlab.com/a/b', sent).body).toEqual({
      ...told,
      state: gitlab,
      name: 'gantry/shop',
      ref: 'main',
    });
  });

  test('is a failure when the release crashed, though its deployment is live', () => {
    const reason = 'crashed 5s after it went live: it exited with code 3';
    const sent = { ...payload('live', reason), type: 'release.crashed' as const };
    expect(requestTo('github', 'https://github.com/a/b', sent).body).toMatchObject({
      state: 'failure',
      description: `v7 ${reason}`,
    });
  });

  test('fits, whatever the reason says', () => {
    const { body } = requestTo(
      'github',
      'https://github.com/a/b',
      payload('failed', `\u202e${'x'.repeat(500)}`),
    );
    expect(String(body.description)).toMatch(/^deploy #7 \\u202ex+\.\.\.$/);
    expect(String(body.description)).toHaveLength(140);
  });

  test('is no request when there is no commit, no owner or no such thing', () => {
    const { data, ...rest } = payload('live');
    expect(
      statusRequest('github', 'https://github.com/a/b', 't', { ...rest, data: { ...data, commit: '' } }),
    ).toHaveProperty('problem');
    expect(statusRequest('github', 'https://github.com/a', 't', payload('live'))).toHaveProperty('problem');
    expect(statusRequest('generic', 'https://github.com/a/b', 't', payload('live'))).toHaveProperty(
      'problem',
    );
  });

  test.each([
    [201, '', 'told'],
    [400, '{"message":"Cannot transition status via :enqueue from :pending (Reason(s): …)"}', 'told'],
    [400, '{"message":"bad"}', 'never'],
    [401, '', 'never'],
    [404, '', 'never'],
    [403, 'rate limit', 'again'],
    [429, '', 'again'],
    [302, '', 'again'],
    [500, '', 'again'],
  ])('that is answered with %i %s', (status, text, verdict) => {
    expect(judgeStatusAnswer(status, text)).toBe(verdict);
  });
});
