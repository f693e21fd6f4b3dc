import { expect, test } from 'vitest';
import { explainPull } from '../../src/docker/pull-image.ts';

const login = { host: 'ghcr.io', username: 'ana', password: 'x' };

/** As engines 20.10 and 26 say it. */
test.each([
  ['manifest unknown: manifest unknown', 'the registry has no such image or tag'],
  [
    'manifest for 127.0.0.1:5000/web@sha256:00 not found: manifest unknown',
    'the registry has no such image or tag',
  ],
  [
    'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    'does not answer: connection refused',
  ],
  [
    'Get "https://nosuch.example/v2/": dial tcp: lookup nosuch.example on 1.1.1.1:53: no such host',
    'does not answer: no such host',
  ],
  ['Get "https://a.example/v2/": net/http: TLS handshake timeout', 'does not answer: TLS handshake timeout'],
  ['Get "https://a.example/v2/": x509: certificate signed by unknown authority', 'is not trusted'],
  ['Get "https://10.0.0.1/v2/": http: server gave HTTP response to HTTPS client', 'speaks plain HTTP'],
  ['toomanyrequests: You have reached your pull rate limit.', 'fewer requests'],
  [
    'error parsing HTTP 404 response body: invalid character \'<\' looking for beginning of value: "<h1>Not Found</h1>"',
    'API v2',
  ],
  ['received unexpected HTTP status: 502 Bad Gateway', 'answered 502 Bad Gateway'],
  ["invalid character 'o' in literal null (expecting 'u')", 'no manifest that makes sense'],
  ["mediaType in manifest should be 'application/vnd.docker' not ''", 'no manifest that makes sense'],
  ['manifest verification failed for digest sha256:bb', 'is not what its digest says'],
  [
    'no matching manifest for linux/amd64 in the manifest list entries',
    'not for machines like this one (linux/amd64)',
  ],
  [
    'failed to register layer: ApplyLayer exit status 1: write /large: no space left on device',
    'the disk of the Docker engine is full',
  ],
  ['unexpected EOF', 'broke the download off'],
  ['something new', 'something new'],
])('%s', (message, reason) => {
  expect(explainPull(message, undefined)).toEqual({
    ok: false,
    reason: expect.stringContaining(reason) as string,
  });
});

test.each([
  'no basic auth credentials',
  'unauthorized: authentication required',
  "pull access denied for ana/shop, repository does not exist or may require 'docker login'",
  'Head "https://ghcr.io/v2/ana/shop/manifests/1": denied',
])('%s wants a login, or another one', (message) => {
  expect(explainPull(message, undefined)).toMatchObject({
    wantsLogin: true,
    reason: expect.stringMatching(/may want a login/) as string,
  });
  expect(explainPull(message, login)).toMatchObject({
    wantsLogin: true,
    reason: expect.stringMatching(/does not let ana/) as string,
  });
});
