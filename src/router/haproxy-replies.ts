import { appOfBackend } from './haproxy-config.ts';
import { type Backends, freeTarget, type Hosts, pointsTo, type Slot } from './slots.ts';

/** HAProxy said something else than what was expected: treated as "it did not happen". */
export class UnexpectedReply extends Error {
  constructor(command: string, reply: string) {
    super(`HAProxy answered "${command}" with "${reply.trim().slice(0, 200)}"`);
    this.name = 'UnexpectedReply';
  }
}

export type Processes = {
  master: number;
  /** The worker that takes new connections; none for a moment during a reload. */
  worker: number | undefined;
  oldWorkers: readonly number[];
  /** How many reloads the oldest of the workers has outlived. */
  outlived: number;
  /** Since the master was started. */
  reloads: number;
  failedReloads: number;
};

/** The reply to `show proc` on the master socket. */
export function parseProcesses(reply: string): Processes {
  const rows = reply.split('\n').map((line) => line.trim().split(/\s+/));
  const workers = (wanted: 'new' | 'old') => {
    let section: 'new' | 'old' = 'new';
    return rows.flatMap(([first, second, reloads]) => {
      if (first === '#') section = second === 'old' ? 'old' : 'new';
      return second === 'worker' && section === wanted
        ? [{ pid: Number(first), reloads: Number(reloads) }]
        : [];
    });
  };
  const master = rows.find(([, type]) => type === 'master');
  if (master === undefined) throw new UnexpectedReply('show proc', reply);
  const old = workers('old');
  return {
    master: Number(master[0]),
    worker: workers('new').at(-1)?.pid,
    oldWorkers: old.map(({ pid }) => pid),
    outlived: Math.max(0, ...old.map(({ reloads }) => reloads)),
    reloads: Number(master[2]),
    failedReloads: Number(/\[failed: (\d+)\]/.exec(reply)?.[1] ?? 0),
  };
}

/** One field of the reply to `show info`. */
export function parseInfo(reply: string, field: string): string {
  const value = new RegExp(`^${field}: (.*)$`, 'm').exec(reply)?.[1];
  if (value === undefined) throw new UnexpectedReply('show info', reply);
  return value;
}

/** Answers so far by kind, as `2xx`. */
export type Responses = Readonly<Record<string, number>>;

/** The reply to `show stat` for one frontend. */
export function parseResponses(reply: string): Responses {
  const [row] = parseStatistics(reply);
  if (row === undefined) throw new UnexpectedReply('show stat', reply);
  return Object.fromEntries(
    [...row].flatMap(([column, value]) => {
      const kind = /^hrsp_(.xx|other)$/.exec(column)?.[1];
      return kind === undefined ? [] : [[kind, Number(value)]];
    }),
  );
}

/** Seconds from a request to the first byte of its answer and to the last, each a mean. */
export type RequestTimes = { firstByte: number; lastByte: number };

/** HAProxy's means are over so many of the last requests of a backend. */
const meanOver = 1024;

/** The reply to `show stat` for all backends: over the last requests of each app. Nothing while there was none. */
export function parseRequestTimes(reply: string): RequestTimes | undefined {
  const rows = parseStatistics(reply)
    .filter((row) => appOfBackend(row.get('pxname') ?? '') !== undefined)
    .map((row) => ({ row, requests: Math.min(meanOver, Number(row.get('req_tot'))) }));
  const requests = rows.reduce((sum, one) => sum + one.requests, 0);
  if (requests === 0) return undefined;
  const mean = (column: string): number =>
    rows.reduce((sum, one) => sum + Number(one.row.get(column)) * one.requests, 0) / requests / 1000;
  return { firstByte: mean('rtime'), lastByte: mean('ttime') };
}

/**
 * Requests of one backend that got no whole answer, from the reply to `show stat <backend> 2 -1`. None only when there was
 * none; one may count twice.
 */
export function parseFailures(reply: string): number {
  if (reply.startsWith('No such proxy')) return 0;
  const [row] = parseStatistics(reply);
  return row === undefined ? 0 : Number(row.get('econ')) + Number(row.get('eresp'));
}

/** Each row of a reply to `show stat`, by the names of its columns. */
function parseStatistics(reply: string): ReadonlyMap<string, string>[] {
  const [header = '', ...rows] = reply.trimEnd().split('\n');
  if (!header.startsWith('# pxname,svname,')) throw new UnexpectedReply('show stat', reply);
  const columns = header.slice(2).split(',');
  return rows.map((line) => {
    const values = line.split(',');
    return new Map(columns.map((column, index) => [column, values[index] ?? '']));
  });
}

const admin = {
  maintenance: 0x01,
  inheritedMaintenance: 0x02,
  drain: 0x08,
  inheritedDrain: 0x10,
  resolving: 0x20,
};
const notLive =
  admin.maintenance | admin.inheritedMaintenance | admin.drain | admin.inheritedDrain | admin.resolving;

/**
 * The reply to `show servers state`. The state alone tells a slot's use: a free one points nowhere, a live one is neither
 * draining nor in maintenance, and whatever else has an address was draining when somebody last looked after it.
 */
export function parseBackends(reply: string): Backends {
  const [version, header, ...rows] = reply.trimEnd().split('\n');
  if (version !== '1' || !header?.startsWith('# ')) throw new UnexpectedReply('show servers state', reply);
  const columns = header.slice(2).split(' ');
  const at = (row: readonly string[], column: string): string => {
    const value = row[columns.indexOf(column)];
    if (value === undefined) throw new UnexpectedReply('show servers state', reply);
    return value;
  };
  const backends = new Map<string, Slot[]>();
  for (const row of rows.map((line) => line.split(' '))) {
    const app = appOfBackend(at(row, 'be_name'));
    if (app === undefined) continue;
    const target = { address: at(row, 'srv_addr'), port: Number(at(row, 'srv_port')) };
    const use = (Number(at(row, 'srv_admin_state')) & notLive) === 0 ? 'live' : 'draining';
    const slots = backends.get(app) ?? [];
    slots[Number(at(row, 'srv_name').slice(1))] = pointsTo(target, freeTarget)
      ? { use: 'free' }
      : { use, ...target };
    backends.set(app, slots);
  }
  return backends;
}

/** The reply to `show map`. */
export function parseHosts(reply: string): Hosts {
  const hosts = new Map<string, string>();
  for (const line of reply.split('\n')) {
    if (line === '') continue;
    const [pointer, host, backend] = line.split(' ');
    const app = appOfBackend(backend ?? '');
    if (!pointer?.startsWith('0x') || !host || app === undefined)
      throw new UnexpectedReply('show map', reply);
    hosts.set(host, app);
  }
  return hosts;
}

/**
 * Requests in flight at one server, from the reply to `show stat <backend> 4 -1`. A worker that is older than the
 * backend or the slot has none; a reply of another kind is no number at all.
 */
export function parseInFlight(reply: string, server: string): number {
  if (reply.startsWith('No such proxy')) return 0;
  const row = parseStatistics(reply).find((one) => one.get('svname') === server);
  if (row === undefined) return 0;
  const sessions = Number(row.get('scur'));
  if (!row.get('scur') || !Number.isInteger(sessions)) throw new UnexpectedReply('show stat', reply);
  return sessions;
}

/** The sessions of one server in the reply to `show sess`. */
export function parseSessions(reply: string, backend: string, server: string): string[] {
  return reply
    .split('\n')
    .filter((line) => line.includes(` be=${backend} `) && line.includes(` srv=${server} `))
    .flatMap((line) => /^(0x[0-9a-f]+):/.exec(line)?.[1] ?? []);
}

/** The reasons in what HAProxy prints when it refuses something, without its own prefixes. */
export function parseAlerts(output: string): string {
  const alerts = output
    .split('\n')
    .flatMap((line) => /^\[ALERT\]\s+\(\d+\) : (.*)$/.exec(line)?.[1] ?? [])
    .filter((text) => !/(?:Error\(s\)|Fatal errors) found in/.test(text));
  return alerts.slice(0, 3).join('; ') || output.trim().split('\n').at(-1) || 'it said nothing';
}

/** `[2, 6]` for 2.6.12. */
export function parseVersion(output: string): readonly [number, number] | undefined {
  const match = /^HA-?Proxy version (\d+)\.(\d+)/m.exec(output);
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}
