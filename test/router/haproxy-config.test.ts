import { expect, test } from 'vitest';
import {
  type HaproxySettings,
  portsOf,
  readBackends,
  readHosts,
  renderConfig,
  renderHosts,
} from '../../src/router/haproxy-config.ts';
import type { Backends } from '../../src/router/slots.ts';

const settings: HaproxySettings = { dir: '/d', bindAddress: '::', httpPort: 80, openFiles: 20_000 };

const rules = `  http-request del-header x-forwarded- -m beg
  http-request del-header forwarded
  http-request del-header x-real-ip
  http-request del-header proxy
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request disable-l7-retry unless METH_GET || METH_OPTIONS
  http-request allow if { stopping }
  http-request set-var(txn.path) path,lower
  http-request set-var(txn.backend) req.hdr(host),host_only,lower,concat(,txn.path,/),map_beg(/d/hosts.map)
  acl wants_html req.hdr(accept) -m sub text/html
  acl known_host var(txn.backend) -m found
  acl stopped_app var(txn.backend) -m str app_-
  acl nothing_live var(txn.backend),nbsrv eq 0
  http-request return status 404 content-type "text/html; charset=utf-8" file /d/pages/unknown-host.html hdr Cache-Control no-store if !known_host wants_html
  http-request return status 404 content-type "text/plain; charset=utf-8" file /d/pages/unknown-host.txt hdr Cache-Control no-store if !known_host
  http-request return status 503 content-type "text/html; charset=utf-8" file /d/pages/stopped.html hdr Cache-Control no-store hdr Retry-After 5 if stopped_app wants_html
  http-request return status 503 content-type "text/plain; charset=utf-8" file /d/pages/stopped.txt hdr Cache-Control no-store hdr Retry-After 5 if stopped_app
  http-request return status 503 content-type "text/html; charset=utf-8" file /d/pages/no-release.html hdr Cache-Control no-store hdr Retry-After 5 if nothing_live wants_html
  http-request return status 503 content-type "text/plain; charset=utf-8" file /d/pages/no-release.txt hdr Cache-Control no-store hdr Retry-After 5 if nothing_live
  use_backend handoff if { stopping }
  use_backend %[var(txn.backend)]
`;

const withoutComments = (config: string) => config.replace(/^ *#.*\n/gm, '');

test('a configuration without apps', () => {
  expect(withoutComments(renderConfig(settings, new Map(), new Map()))).toBe(`global
  maxconn 9750
  stats socket /d/rt.sock mode 600 level admin expose-fd listeners
  stats timeout 1h
  hard-stop-after 12h
  mworker-max-reloads 20

defaults base
  mode http
  timeout connect 5s
  timeout client 60s
  timeout http-request 15s
  timeout http-keep-alive 60s
  timeout server 1h
  timeout tunnel 1h
  option idle-close-on-response
  retries 15
  option redispatch 1
  retry-on conn-failure empty-response
  http-reuse safe
  errorfile 502 /d/pages/bad-answer.http
  errorfile 503 /d/pages/no-release.http
  errorfile 504 /d/pages/no-answer.http

defaults app from base
  balance leastconn

frontend http from base
  bind *:80
  bind :::80 v6only
${rules}
frontend handoff_in from base
  bind unix@/d/handoff.sock mode 600 accept-proxy
${rules}
backend handoff from base
  server next unix@/d/handoff.sock send-proxy-v2
`);
});

const backends: Backends = new Map([
  [
    'blog',
    [
      { use: 'live', address: '10.213.0.7', port: 3000 },
      { use: 'draining', address: '10.213.0.6', port: 3000 },
      { use: 'free' },
      { use: 'live', address: 'fd00::7', port: 8080 },
    ],
  ],
  ['shop', [{ use: 'free' }]],
]);

test('an app: live slots open, draining and free ones disabled', () => {
  const config = renderConfig(settings, backends, new Map());
  expect(config.slice(config.indexOf('backend app_'))).toBe(`backend app_blog from app
  default-server check inter 2s fastinter 500ms downinter 500ms fall 2 rise 1 pool-purge-delay 200ms
  server s0 10.213.0.7:3000
  server s1 10.213.0.6:3000 disabled
  server s2 127.0.0.1:1 disabled
  server s3 [fd00::7]:8080

backend app_shop from app
  default-server check inter 2s fastinter 500ms downinter 500ms fall 2 rise 1 pool-purge-delay 200ms
  server s0 127.0.0.1:1 disabled
`);
});

test.each([
  ['*', ['  bind *:80']],
  ['::', ['  bind *:80', '  bind :::80 v6only']],
  ['192.0.2.1', ['  bind 192.0.2.1:80']],
  ['fd00::1', ['  bind [fd00::1]:80']],
])('bind address %s', (bindAddress, lines) => {
  const config = renderConfig({ ...settings, bindAddress }, new Map(), new Map());
  expect(config.split('\n').filter((line) => /^ {2}bind (?!unix)/.test(line))).toEqual(lines);
});

test.each([
  [1_000_000, 50_000],
  [20_000, 9_750],
  [1_024, 262],
  [256, 100],
])('%i open files allow %i connections', (openFiles, connections) => {
  expect(renderConfig({ ...settings, openFiles }, new Map(), new Map())).toContain(
    `  maxconn ${connections}\n`,
  );
});

test('what was written can be read again', () => {
  expect(readBackends(renderConfig(settings, backends, new Map()))).toEqual(backends);
  expect(readBackends('')).toEqual(new Map());
});

test('the host map names backends, and can be read again', () => {
  const hosts = new Map([
    ['blog.test/', 'blog'],
    ['www.test/', 'blog'],
    ['www.test/shop/', 'shop'],
  ]);
  expect(renderHosts(hosts)).toBe('blog.test/ app_blog\nwww.test/ app_blog\nwww.test/shop/ app_shop\n');
  expect(readHosts(renderHosts(hosts))).toEqual(hosts);
  expect(renderHosts(new Map())).toBe('');
});

test('a router of TCP ports listens on each of them and asks the same map where it leads', () => {
  const { httpPort: _, ...tcp } = settings;
  const hosts = new Map([
    ['5000', 'blog'],
    ['5001', 'shop'],
  ]);
  const config = renderConfig(tcp, backends, hosts);
  expect(config).toContain(`frontend tcp from base
  bind unix@/d/idle.sock mode 600
  bind *:5000
  bind :::5000 v6only
  bind *:5001
  bind :::5001 v6only
  use_backend %[dst_port,map_str(/d/hosts.map)]
`);
  expect(config).toContain('mode tcp');
  expect(config).not.toContain('mode http');
  expect(readBackends(config)).toEqual(backends);
  expect(portsOf(config)).toEqual([5000, 5000, 5001, 5001]);
});
