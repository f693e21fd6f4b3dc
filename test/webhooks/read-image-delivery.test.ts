import { describe, expect, test } from 'vitest';
import type { WebhookLink, WebhookProvider } from '../../src/domain/webhook.ts';
import { readImageDelivery } from '../../src/webhooks/read-image-delivery.ts';
import { problemOfSignature, tokenInAddress } from '../../src/webhooks/verify-delivery.ts';

const digest = `sha256:${'1'.repeat(64)}`;
const other = `sha256:${'2'.repeat(64)}`;
const link: WebhookLink = {
  provider: 'registry',
  repository: 'registry.example:5000/ana/shop',
  branch: '',
  tag: 'latest',
  pollSeconds: undefined,
  createdAt: new Date(0),
};

function read(payload: unknown, provider: WebhookProvider = 'registry', event = '') {
  const body = Buffer.from(JSON.stringify(payload));
  return readImageDelivery({ provider, headers: { 'x-github-event': event }, body }, { ...link, provider });
}

/** As docker-registry 2.8 sends it, shortened. */
function notification(change: {
  tag?: string;
  action?: string;
  repository?: string;
  digest?: string;
  at?: string;
}) {
  return {
    id: '2e1f1f6e-6d45-4d6b-8f4f-9cf1c3c1f4c7',
    timestamp: change.at ?? '2026-11-21T10:00:00.123456789Z',
    action: change.action ?? 'push',
    target: {
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      size: 528,
      digest: change.digest ?? digest,
      length: 528,
      repository: change.repository ?? 'ana/shop',
      url: 'http://registry.example:5000/v2/ana/shop/manifests/sha256:1',
      ...(change.tag !== undefined && { tag: change.tag }),
    },
    request: {
      id: '1',
      addr: '10.0.0.1:1',
      host: 'registry.example:5000',
      method: 'PUT',
      useragent: 'docker/26',
    },
    actor: { name: 'ana' },
  };
}

describe('a registry of Docker', () => {
  test('tells of a tag that was pushed, and what it is now', () => {
    expect(read({ events: [notification({}), notification({ tag: 'latest' })] })).toEqual({
      kind: 'image',
      repository: 'ana/shop',
      tag: 'latest',
      digest,
      at: '2026-11-21T10:00:00.123Z',
    });
  });

  test('of several images it is the linked one, of several pushes the last one', () => {
    const events = [
      notification({ tag: 'v2' }),
      notification({ tag: 'latest', digest: other, at: '2026-11-21T10:00:02Z' }),
      notification({ tag: 'latest', at: '2026-11-21T10:00:01Z' }),
      notification({ tag: 'latest', repository: 'ana/other', at: '2026-11-21T10:00:03Z' }),
    ];
    expect(read({ events })).toMatchObject({ tag: 'latest', repository: 'ana/shop', digest: other });
    expect(read({ events: events.slice(0, 1) })).toMatchObject({ tag: 'v2' });
  });

  test('may send one at a time', () => {
    expect(read(notification({ tag: 'latest' }))).toMatchObject({ kind: 'image', digest });
  });

  test.each([
    { events: [] },
    { events: [notification({ tag: 'latest', action: 'pull' })] },
    { events: [notification({ tag: 'latest', action: 'delete' })] },
    { events: [notification({})] },
    { events: [notification({ tag: '-v' })] },
    { events: [notification({ tag: 'latest', digest: 'sha256:short' })] },
  ])('says nothing with %j', (payload) => {
    expect(read(payload)).toEqual({ kind: 'nothing', reason: 'no tag of an image was pushed' });
  });

  test.each([{}, { events: 'x' }, [], null, { events: [{}] }])('makes no sense with %j', (payload) => {
    expect(() => read(payload)).toThrow(/makes no sense/);
  });
});

describe('Docker Hub', () => {
  /** From its documentation. */
  const payload = {
    callback_url:
      'https://registry.hub.docker.com/u/svendowideit/testhook/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/',
    push_data: { pushed_at: 1417566161, pusher: 'trustedbuilder', tag: 'latest' },
    repository: {
      name: 'testhook',
      namespace: 'svendowideit',
      repo_name: 'svendowideit/testhook',
      status: 'Active',
    },
  };

  test('tells of a tag, whose digest is looked up', () => {
    expect(read(payload, 'dockerhub')).toEqual({
      kind: 'image',
      repository: 'svendowideit/testhook',
      tag: 'latest',
      digest: undefined,
      at: undefined,
    });
  });

  test('is believed by the end of the address only', () => {
    const secret = `whsec_${Buffer.from([251, 255, 254]).toString('base64')}`;
    const body = Buffer.from(JSON.stringify(payload));
    const problem = (token: string | undefined, secrets = [secret]) =>
      problemOfSignature({ provider: 'dockerhub', headers: {}, body, token }, secrets, new Date());
    expect(tokenInAddress(secret)).toBe('-__-');
    expect(problem('-__-')).toBeUndefined();
    expect(problem('-__-', ['', secret])).toBeUndefined();
    expect(problem(undefined)).toBe('it is not signed');
    expect(problem('')).toBe('it is not signed');
    expect(problem('-__')).toBe('its signature is wrong');
    expect(problem(secret)).toBe('its signature is wrong');
    expect(problem('-__-', [''])).toBe('its signature is wrong');
  });
});

describe('the registry of GitHub', () => {
  const about = (change: object) => ({
    action: 'published',
    registry_package: {
      name: 'shop',
      namespace: 'ana',
      package_type: 'CONTAINER',
      updated_at: '2026-11-21T10:00:00Z',
      package_version: { container_metadata: { tag: { name: 'latest', digest } } },
      ...change,
    },
  });

  test('tells of a tag that was pushed', () => {
    expect(read(about({}), 'ghcr', 'registry_package')).toEqual({
      kind: 'image',
      repository: 'ana/shop',
      tag: 'latest',
      digest,
      at: '2026-11-21T10:00:00.000Z',
    });
    expect(read({}, 'ghcr', 'ping')).toEqual({ kind: 'ping' });
  });

  test.each([
    [about({ package_type: 'npm' }), 'registry_package', 'a package of the kind npm'],
    [about({ package_version: null }), 'package', 'no tag of an image was pushed'],
    [about({}), 'push', 'the event push'],
  ])('says nothing of use with %j as %s', (payload, event, reason) => {
    expect(read(payload, 'ghcr', event)).toEqual({ kind: 'nothing', reason });
  });
});
