import { expect, test } from 'vitest';
import type { CommitSha } from '../../src/domain/app.ts';
import {
  type ImageEvent,
  type PushEvent,
  reasonToIgnore,
  reasonToIgnoreImage,
  type WebhookLink,
} from '../../src/domain/webhook.ts';

const link: WebhookLink = {
  provider: 'github',
  repository: 'https://user:secret@forge.example/Team/Shop.git',
  branch: 'main',
  tag: undefined,
  pollSeconds: undefined,
  createdAt: new Date(0),
};
const push: PushEvent = {
  kind: 'push',
  branch: 'main',
  before: undefined,
  commit: '1'.repeat(40) as CommitSha,
  subject: 'Sell more',
  message: 'Sell more',
  repositories: [],
};
const reason = (change: Partial<PushEvent>, to: Partial<WebhookLink> = {}): string | undefined =>
  reasonToIgnore({ ...push, ...change }, { ...link, ...to });

test('only the linked branch is deployed', () => {
  expect(reason({})).toBeUndefined();
  expect(reason({ branch: 'main2' })).toMatch(/only main is deployed/);
  expect(reason({ branch: 'Main' })).toMatch(/only main/);
});

test.each([
  [['https://forge.example/team/shop']],
  [['https://elsewhere.example/x', 'git@forge.example:Team/Shop.git']],
  [['ssh://git@forge.example:22/team/shop.git']],
  [['team/shop']],
])('the linked repository by any of its names: %j', (repositories) => {
  expect(reason({ repositories })).toBeUndefined();
  expect(reason({ repositories }, { repository: 'git@forge.example:team/shop.git' })).toBeUndefined();
});

test.each([
  [['https://forge.example/team/shop2']],
  [['https://evil.example/team/shop.git']],
  [['https://forge.example/evil/team/shop.git']],
])('not another repository: %j', (repositories) => {
  expect(reason({ repositories })).toMatch(/not about the linked repository/);
});

test.each(['Fix [skip deploy]', 'Fix\n\n[ci skip]', '[SKIP CI] x'])(
  'not a commit that says so: %j',
  (message) => {
    expect(reason({ message })).toMatch(/the commit says \[/);
  },
);

test('of images only the linked one with the linked tag is deployed', () => {
  const image: ImageEvent = {
    kind: 'image',
    repository: 'ana/shop',
    tag: 'latest',
    digest: undefined,
    at: undefined,
  };
  const about = (change: Partial<ImageEvent>, repository: string): string | undefined =>
    reasonToIgnoreImage(
      { ...image, ...change },
      { ...link, provider: 'registry', repository, branch: '', tag: 'latest' },
    );
  expect(about({}, 'registry.example:5000/ana/shop')).toBeUndefined();
  expect(about({}, 'ana/shop')).toBeUndefined();
  expect(about({ repository: 'library/nginx' }, 'nginx')).toBeUndefined();
  expect(about({ repository: 'ana/shop2' }, 'ana/shop')).toMatch(
    /about ana\/shop2, not about the linked image/,
  );
  expect(about({ tag: 'v2' }, 'ana/shop')).toBe('the tag v2; only latest is deployed');
});
