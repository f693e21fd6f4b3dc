import { expect, test } from 'vitest';
import {
  parseAlerts,
  parseBackends,
  parseFailures,
  parseHosts,
  parseInFlight,
  parseInfo,
  parseProcesses,
  parseRequestTimes,
  parseResponses,
  parseSessions,
  parseVersion,
} from '../../src/router/haproxy-replies.ts';

const processes = `#<PID>          <type>          <reloads>       <uptime>        <version>
5197            master          3 [failed: 1]   0d00h00m10s     2.6.12-1+deb12u4
# workers
5520            worker          0               0d00h00m01s     2.6.12-1+deb12u4
# old workers
5205            worker          2               0d00h00m10s     2.6.12-1+deb12u4
5300            worker          1               0d00h00m10s     2.6.12-1+deb12u4
# programs
`;

test('show proc tells the current worker from the old ones', () => {
  expect(parseProcesses(processes)).toEqual({
    master: 5197,
    worker: 5520,
    oldWorkers: [5205, 5300],
    outlived: 2,
    reloads: 3,
    failedReloads: 1,
  });
});

test('during a reload there may be no current worker', () => {
  expect(parseProcesses(processes.replace(/^5520.*\n/m, ''))).toMatchObject({ worker: undefined });
});

test('show servers state: the state alone tells free, live and draining slots', () => {
  const columns = 'be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_port';
  const reply = [
    '1',
    `# ${columns}`,
    '3 handoff 1 next - 2 0 0',
    '4 app_blog 1 s0 10.0.0.1 2 0 3000',
    '4 app_blog 2 s1 10.0.0.2 2 4 3000',
    '4 app_blog 3 s2 10.0.0.3 2 8 3000',
    '4 app_blog 4 s3 10.0.0.4 0 5 3000',
    '4 app_blog 5 s4 127.0.0.1 0 5 1',
    '5 app_shop 1 s0 127.0.0.1 0 1 1',
    '',
  ].join('\n');
  expect(parseBackends(reply)).toEqual(
    new Map([
      [
        'blog',
        [
          { use: 'live', address: '10.0.0.1', port: 3000 },
          { use: 'live', address: '10.0.0.2', port: 3000 },
          { use: 'draining', address: '10.0.0.3', port: 3000 },
          { use: 'draining', address: '10.0.0.4', port: 3000 },
          { use: 'free' },
        ],
      ],
      ['shop', [{ use: 'free' }]],
    ]),
  );
});

test('show map', () => {
  const hosts = new Map([
    ['a.test', 'a'],
    ['b.test', 'b'],
  ]);
  expect(parseHosts('0x559e30cc0ed0 a.test app_a\n0x559e30cc0f20 b.test app_b\n')).toEqual(hosts);
  expect(parseHosts('')).toEqual(new Map());
});

test('show stat: requests in flight at a slot', () => {
  const reply = '# pxname,svname,qcur,qmax,scur,smax,\napp_a,s0,0,0,3,7,\napp_a,s1,0,0,0,1,\n';
  expect(parseInFlight(reply, 's0')).toBe(3);
  expect(parseInFlight(reply, 's1')).toBe(0);
});

test('a worker that is older than the backend or the slot has nothing in flight there', () => {
  expect(parseInFlight('No such proxy.\n', 's0')).toBe(0);
  expect(parseInFlight('# pxname,svname,qcur,qmax,scur,smax,\n', 's0')).toBe(0);
});

test.each([
  ['nothing', ''],
  ['another text', 'Permission denied\n'],
  ['a row without the number', '# pxname,svname,qcur,qmax,scur,smax,\napp_a,s0,0,0,,\n'],
  ['half a row', '# pxname,svname,qcur,qmax,scur,smax,\napp_a,s0,0\n'],
])('in-flight requests are never guessed from %s', (_, reply) => {
  expect(() => parseInFlight(reply, 's0')).toThrow('HAProxy answered "show stat"');
});

test.each([
  ['show proc', () => parseProcesses('what?\n')],
  ['show info', () => parseInfo('what?\n', 'Pid')],
  ['show servers state', () => parseBackends('what?\n')],
  ['show map', () => parseHosts('what?\n')],
])('any other text to %s is a failure', (command, parse) => {
  expect(parse).toThrow(`HAProxy answered "${command}" with "what?"`);
});

test('show info', () => {
  expect(parseInfo('Name: HAProxy\nPid: 77\nStopping: 1\n', 'Stopping')).toBe('1');
});

test('show sess: only the sessions of the one server', () => {
  const reply = [
    '0x55e6635939e0: proto=tcpv4 src=127.0.0.1:1 fe=http be=app_blog srv=s0 ts=00 age=1s',
    '0x55e6635939e1: proto=tcpv4 src=127.0.0.1:2 fe=http be=app_blog srv=s01 ts=00 age=1s',
    '0x55e6635939e2: proto=tcpv4 src=127.0.0.1:3 fe=http be=app_blog2 srv=s0 ts=00 age=1s',
    '0x7f8670039650: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00 age=0s',
  ].join('\n');
  expect(parseSessions(reply, 'app_blog', 's0')).toEqual(['0x55e6635939e0']);
});

test.each([
  [
    "[NOTICE]   (1) : haproxy version is 2.6.12\n[ALERT]    (1) : config : parsing [h.cfg:5] : unknown keyword 'x'.\n[ALERT]    (1) : config : Error(s) found in configuration file : h.cfg\n[ALERT]    (1) : config : Fatal errors found in configuration.\n",
    "config : parsing [h.cfg:5] : unknown keyword 'x'.",
  ],
  ['sh: 1: flock: not found\n', 'sh: 1: flock: not found'],
  ['', 'it said nothing'],
])('the reason in what HAProxy prints', (output, reason) => {
  expect(parseAlerts(output)).toBe(reason);
});

test.each([
  ['HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n', [2, 6]],
  ['HA-Proxy version 2.2.9-2 2020/11/27\n', [2, 2]],
  ['HAProxy version 3.0.11-1\n', [3, 0]],
  ['nginx version: nginx/1.22.1\n', undefined],
])('the version in %j', (output, version) => {
  expect(parseVersion(output)).toEqual(version);
});

test('show stat tells how long visitors waited: apps with more requests weigh more, up to what a mean is over', () => {
  const reply = [
    '# pxname,svname,econ,eresp,req_tot,rtime,ttime,',
    'app_a,BACKEND,0,0,3000,10,100,',
    'app_b,BACKEND,0,0,1024,30,300,',
    'handoff,BACKEND,0,0,9000,900,900,',
    '',
  ].join('\n');
  expect(parseRequestTimes(reply)).toEqual({ firstByte: 0.02, lastByte: 0.2 });
  expect(parseRequestTimes('# pxname,svname,req_tot,rtime,ttime,\napp_a,BACKEND,0,0,0,\n')).toBeUndefined();
});

test('show stat tells how many requests failed', () => {
  expect(parseFailures('# pxname,svname,econ,eresp,\napp_a,BACKEND,2,3,\n')).toBe(5);
  expect(parseFailures('No such proxy.\n')).toBe(0);
  expect(() => parseFailures('what?\n')).toThrow('show stat');
});

test('show stat tells what visitors were answered', () => {
  const reply =
    '# pxname,svname,scur,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,\nhttp,FRONTEND,1,0,7,0,2,1,0,,\n\n';
  expect(parseResponses(reply)).toEqual({ '1xx': 0, '2xx': 7, '3xx': 0, '4xx': 2, '5xx': 1, other: 0 });
  expect(() => parseResponses('\n')).toThrow('show stat');
});
