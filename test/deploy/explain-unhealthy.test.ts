import { describe, expect, test } from 'vitest';
import { explainUnhealthy, type Symptom } from '../../src/deploy/explain-unhealthy.ts';
import { type HealthCheck, healthChecks } from '../../src/deploy/health-check.ts';
import { parseListeners } from '../../src/deploy/listening-sockets.ts';

function failing(...checks: [path: string, symptom: Symptom][]): ReadonlyMap<HealthCheck, Symptom> {
  return new Map(
    checks.map(([path, symptom]) => [{ name: `GET ${path}`, kind: 'http', port: 8080, path }, symptom]),
  );
}

const facts = {
  unhealthy: failing(['/', { kind: 'refused' }]),
  checkCount: 1,
  listeners: [],
  waitedMs: 60_000,
  memoryBytes: 512 * 1024 ** 2,
};
const exited = (exitCode: number, outOfMemory = false) => ({
  kind: 'exited' as const,
  state: {
    id: 'c',
    name: 'c',
    labels: {},
    networks: {},
    running: false,
    isRestarting: false,
    restartCount: 0,
    isKept: false,
    exitCode,
    outOfMemory,
  },
});

describe('why a container is not healthy', () => {
  test.each([
    [
      'nothing listens',
      { kind: 'refused' },
      {},
      /nothing listens on port 8080/,
      /listen on 0\.0\.0\.0 and port \$PORT/,
    ],
    [
      'it listens on loopback',
      { kind: 'refused' },
      { listeners: [{ address: '127.0.0.1', port: 8080, loopbackOnly: true }] },
      /listens on 127\.0\.0\.1:8080 only/,
      /listen on 0\.0\.0\.0/,
    ],
    [
      'it listens on another port',
      { kind: 'refused' },
      { listeners: [{ address: '0.0.0.0', port: 3000, loopbackOnly: false }] },
      /nothing listens on port 8080/,
      /CC_DOCKER_EXPOSED_HTTP_PORT=3000/,
    ],
    [
      'the server cannot even ask',
      { kind: 'broken', message: 'connect EMFILE 10.213.0.52:8080 - Local (undefined:undefined)' },
      {},
      /^the app could not be asked: the server has as many files open as it may/,
      /raise that limit/,
    ],
    [
      'it answers something else',
      { kind: 'answered', status: 404 },
      {},
      /answered 404, not 200, for 60s/,
      /CC_HEALTH_CHECK_PATH/,
    ],
    ['it never answers', { kind: 'silent' }, {}, /not answered within 60s/, /hangs/],
    ['it exited', exited(3), {}, /exited with code 3/, /^$/],
    ['it ended without a mistake', exited(0), {}, /exited with code 0/, /keep running in the foreground/],
    ['a signal ended it', exited(139), {}, /ended by signal 11/, /^$/],
    ['memory ran out', exited(137, true), {}, /killed: out of memory \(limit 512 MiB\)/, /memory/],
  ] as const)('%s', (_name, symptom, more, reason, hint) => {
    const problem = explainUnhealthy(symptom, { ...facts, ...more });
    expect(problem.reason).toMatch(reason);
    expect(problem.hints?.join() ?? '').toMatch(hint);
  });
});

test('listening sockets are read from the kernel’s table, without the engine’s own resolver', () => {
  const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0B00007F:9C40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 0200000A:1F90 0100000A:C350 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
`;
  const tcp6 = `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A
   1: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A
   2: 0000000000000000FFFF00000100007F:1538 00000000000000000000000000000000:0000 0A
`;
  expect([...parseListeners(tcp), ...parseListeners(tcp6)]).toEqual([
    { address: '127.0.0.1', port: 3000, loopbackOnly: true },
    { address: '0.0.0.0', port: 8080, loopbackOnly: false },
    { address: '::1', port: 80, loopbackOnly: true },
    { address: '::', port: 443, loopbackOnly: false },
    { address: '::ffff:127.0.0.1', port: 5432, loopbackOnly: true },
  ]);
});

test('of several paths every failing one is named with what it did', () => {
  const unhealthy = failing(['/ready', { kind: 'answered', status: 503 }], ['/slow', { kind: 'silent' }]);
  const problem = explainUnhealthy({ kind: 'answered', status: 503 }, { ...facts, unhealthy, checkCount: 3 });
  expect(problem.reason).toBe('2 of 3 health checks failed: GET /ready 503, GET /slow no answer');
});

test('an app with a TCP service is asked there, and for a path only if it names one', () => {
  const names = (healthPaths: string[], hasTcp: boolean): string[] =>
    healthChecks({ healthPaths, healthCheck: 'http', port: 8080, tcpPort: 4040 }, hasTcp).map(
      ({ name }) => name,
    );
  expect(names([], false)).toEqual(['GET /']);
  expect(names(['/a', '/b'], false)).toEqual(['GET /a', 'GET /b']);
  expect(names([], true)).toEqual(['TCP 4040']);
  expect(names(['/a'], true)).toEqual(['GET /a', 'TCP 4040']);
});

test('Cloud Foundry’s other checks ask no path', () => {
  const names = (healthCheck: 'port' | 'process', hasTcp: boolean): string[] =>
    healthChecks({ healthPaths: ['/a'], healthCheck, port: 8080, tcpPort: 4040 }, hasTcp).map(
      ({ name }) => name,
    );
  expect(names('port', false)).toEqual(['port 8080']);
  expect(names('process', false)).toEqual([]);
  expect(names('process', true)).toEqual(['TCP 4040']);
});

test('nothing behind the TCP port is explained with what listens instead', () => {
  const [tcp] = healthChecks({ healthPaths: [], healthCheck: 'http', port: 8080, tcpPort: 4040 }, true);
  const problem = explainUnhealthy(
    { kind: 'refused' },
    {
      ...facts,
      unhealthy: new Map(tcp ? [[tcp, { kind: 'refused' }]] : []),
      listeners: [{ address: '0.0.0.0', port: 8080, loopbackOnly: false }],
    },
  );
  expect(problem.reason).toBe('nothing takes TCP connections on port 4040 of the container');
  expect(problem.details).toEqual(['it listens on 0.0.0.0:8080']);
  expect(problem.hints?.join()).toContain('CC_DOCKER_EXPOSED_TCP_PORT');
});
