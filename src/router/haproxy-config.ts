import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import {
  type Backends,
  freeTarget,
  type Hosts,
  type Slot,
  slotAt,
  stoppedApp,
  type Target,
} from './slots.ts';

export type HaproxySettings = {
  /** Folder of the configuration, the maps, the pages and the sockets. */
  dir: string;
  /** `*` for every IPv4 address, `::` for every address of both kinds, or one address. */
  bindAddress: string;
  /** Absent: a router of TCP ports. What it calls hosts are ports, and every change of them needs a reload. */
  httpPort?: number;
  /** The hard limit on open files of the HAProxy process. */
  openFiles: number;
};

export type HaproxyPaths = ReturnType<typeof haproxyPaths>;

export function haproxyPaths(dir: string) {
  return {
    config: join(dir, 'haproxy.cfg'),
    hosts: join(dir, 'hosts.map'),
    pages: join(dir, 'pages'),
    log: join(dir, 'haproxy.log'),
    pid: join(dir, 'haproxy.pid'),
    stop: join(dir, 'stop'),
    lock: join(dir, 'supervisor.lock'),
    runtime: join(dir, 'rt.sock'),
    master: join(dir, 'master.sock'),
    handoff: join(dir, 'handoff.sock'),
    idle: join(dir, 'idle.sock'),
  };
}

export function backendName(app: string): string {
  return `app_${app}`;
}

/** The app of a backend, or nothing for the backends that are no app's. */
export function appOfBackend(backend: string): string | undefined {
  return backend.startsWith('app_') ? backend.slice('app_'.length) : undefined;
}

export function slotName(index: number): string {
  return `s${index}`;
}

export function renderHosts(hosts: Hosts): string {
  return [...hosts].map(([host, app]) => `${host} ${backendName(app)}\n`).join('');
}

export function renderConfig(settings: HaproxySettings, backends: Backends, hosts: Hosts): string {
  const { httpPort } = settings;
  const sections = [
    globalSection(settings, backends),
    ...(httpPort === undefined
      ? [tcpDefaultsSection(), appDefaultsSection(), tcpFrontendSection(settings, hosts)]
      : [
          defaultsSection(settings),
          appDefaultsSection(),
          frontendSection(settings, httpPort),
          handoffSections(settings),
        ]),
    ...[...backends].map(([app, slots]) => appSection(app, slots)),
  ];
  return `# Written by Gantry. Changes are overwritten.\n${sections.join('\n')}`;
}

function globalSection({ dir, openFiles }: HaproxySettings, backends: Backends): string {
  const paths = haproxyPaths(dir);
  return `global
  maxconn ${maxConnections(openFiles, backends)}
  stats socket ${paths.runtime} mode 600 level admin expose-fd listeners
  stats timeout 1h
  # Old workers live until their last WebSocket ends, but not for ever.
  hard-stop-after 12h
  mworker-max-reloads 20
`;
}

/**
 * HAProxy refuses to start when its connections could need more files than the limit: two for each connection, one for
 * the health check of each slot, and some for listeners, threads and files.
 */
function maxConnections(openFiles: number, backends: Backends): number {
  const checks = [...backends.values()].reduce((sum, slots) => sum + slots.length, 0);
  return Math.min(50_000, Math.max(100, Math.floor((openFiles - checks - 500) / 2)));
}

function defaultsSection({ dir }: HaproxySettings): string {
  const { pages } = haproxyPaths(dir);
  return `defaults base
  mode http
  timeout connect 5s
  timeout client 60s
  timeout http-request 15s
  timeout http-keep-alive 60s
  # How long an app may say nothing in the middle of an answer. An hour, because a quiet stream of server-sent events
  # and a long poll look just like a hanging app, and an app knows better than its router when to give up.
  timeout server 1h
  timeout tunnel 1h
  # A reload must not reset clients that sit between two requests.
  option idle-close-on-response
  # One second apart when there is only one container: waits out a container that restarts.
  retries 15
  option redispatch 1
  # An app may drop an idle connection just as a request goes out on it. Trying again is right for safe methods only,
  # see disable-l7-retry below.
  retry-on conn-failure empty-response
  http-reuse safe
  errorfile 502 ${join(pages, 'bad-answer.http')}
  errorfile 503 ${join(pages, 'no-release.http')}
  errorfile 504 ${join(pages, 'no-answer.http')}
`;
}

function appDefaultsSection(): string {
  return `defaults app from base
  balance leastconn
`;
}

export const httpFrontend = 'http';

function frontendSection(settings: HaproxySettings, httpPort: number): string {
  return `frontend ${httpFrontend} from base
${binds(settings, httpPort)}
${routingRules(settings)}`;
}

function tcpDefaultsSection(): string {
  return `defaults base
  mode tcp
  timeout connect 5s
  # A connection belongs to the app, which knows when it is over; these only find peers that are gone.
  timeout client 24h
  timeout server 24h
  option clitcpka
  option srvtcpka
  retries 15
  option redispatch 1
`;
}

/** The socket is there because HAProxy does not start with nothing to listen on. */
function tcpFrontendSection(settings: HaproxySettings, ports: Hosts): string {
  const { hosts, idle } = haproxyPaths(settings.dir);
  const listening = [...ports.keys()].map((port) => `${binds(settings, Number(port))}\n`).join('');
  return `frontend tcp from base
  bind unix@${idle} mode 600
${listening}  use_backend %[dst_port,map_str(${hosts})]
`;
}

/**
 * After a reload the old worker keeps its idle clients, but its servers stay as they were at the reload: a container
 * swapped in later is unknown to it. So a worker that is stopping hands every new request to its successor, over a
 * socket that always belongs to the newest worker.
 */
function handoffSections(settings: HaproxySettings): string {
  const { handoff } = haproxyPaths(settings.dir);
  return `frontend handoff_in from base
  bind unix@${handoff} mode 600 accept-proxy
${routingRules(settings)}
backend handoff from base
  server next unix@${handoff} send-proxy-v2
`;
}

function routingRules({ dir }: HaproxySettings): string {
  const { hosts, pages } = haproxyPaths(dir);
  return `  http-request del-header x-forwarded- -m beg
  http-request del-header forwarded
  http-request del-header x-real-ip
  http-request del-header proxy
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request disable-l7-retry unless METH_GET || METH_OPTIONS
  http-request allow if { stopping }
  http-request set-var(txn.path) path,lower
  http-request set-var(txn.backend) req.hdr(host),host_only,lower,concat(,txn.path,/),map_beg(${hosts})
  acl wants_html req.hdr(accept) -m sub text/html
  acl known_host var(txn.backend) -m found
  acl stopped_app var(txn.backend) -m str ${backendName(stoppedApp)}
  acl nothing_live var(txn.backend),nbsrv eq 0
${answer('404', 'html', join(pages, 'unknown-host.html'), '!known_host wants_html')}
${answer('404', 'plain', join(pages, 'unknown-host.txt'), '!known_host')}
${answer('503', 'html', join(pages, 'stopped.html'), 'stopped_app wants_html')}
${answer('503', 'plain', join(pages, 'stopped.txt'), 'stopped_app')}
${answer('503', 'html', join(pages, 'no-release.html'), 'nothing_live wants_html')}
${answer('503', 'plain', join(pages, 'no-release.txt'), 'nothing_live')}
  use_backend handoff if { stopping }
  use_backend %[var(txn.backend)]
`;
}

function answer(status: '404' | '503', type: 'html' | 'plain', file: string, condition: string): string {
  const retry = status === '503' ? ' hdr Retry-After 5' : '';
  return `  http-request return status ${status} content-type "text/${type}; charset=utf-8" file ${file} hdr Cache-Control no-store${retry} if ${condition}`;
}

/** What is down is asked more often than what is up: without anybody to serve, visitors are turned away until it is seen. */
function appSection(app: string, slots: readonly Slot[]): string {
  const servers = slots.map((slot, index) => `  server ${slotName(index)} ${serverAddress(slot)}\n`);
  return `backend ${backendName(app)} from app
  default-server check inter 2s fastinter 500ms downinter 500ms fall 2 rise 1 pool-purge-delay 200ms
${servers.join('')}`;
}

/** A draining slot is written disabled: a reload in the middle of its drain would make it live again otherwise. */
function serverAddress(slot: Slot): string {
  if (slot.use === 'free') return `${hostAndPort(freeTarget)} disabled`;
  return slot.use === 'live' ? hostAndPort(slot) : `${hostAndPort(slot)} disabled`;
}

function hostAndPort({ address, port }: Target): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Two sockets for every address: on one for both kinds, apps would see IPv4 visitors as `::ffff:192.0.2.1`. */
function binds({ bindAddress }: HaproxySettings, port: number): string {
  if (bindAddress === '::') return `  bind *:${port}\n  bind :::${port} v6only`;
  return `  bind ${hostAndPort({ address: bindAddress, port })}`;
}

/** The slots of a configuration of ours, so that a router that was off serves again before anybody tells it to. */
export function readBackends(config: string): Backends {
  const backends = new Map<string, Slot[]>();
  let slots: Slot[] = [];
  for (const line of config.split('\n')) {
    const backend = /^(?:backend|frontend) (\S+)/.exec(line)?.[1];
    if (backend !== undefined) {
      slots = [];
      const app = appOfBackend(backend);
      if (app !== undefined) backends.set(app, slots);
    }
    const server = /^ {2}server s\d+ \[?([0-9a-f.:]+?)\]?:(\d+)( disabled)?$/.exec(line);
    if (server)
      slots.push(
        slotAt({ address: server[1] ?? '', port: Number(server[2]) }, server[3] ? 'draining' : 'live'),
      );
  }
  return backends;
}

export function readHosts(map: string): Hosts {
  const hosts = new Map<string, string>();
  for (const line of map.split('\n')) {
    const [host, backend] = line.split(' ');
    const app = appOfBackend(backend ?? '');
    if (host && app !== undefined) hosts.set(host, app);
  }
  return hosts;
}

/** The ports a configuration of ours listens on for visitors. */
export function portsOf(config: string): number[] {
  return [...config.matchAll(/^ {2}bind (?!unix@).*:(\d+)(?: v6only)?$/gm)].map((match) => Number(match[1]));
}
