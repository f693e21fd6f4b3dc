import { access, mkdir } from 'node:fs/promises';
import type { AppName } from '../domain/app.ts';
import type { Endpoint, Route } from '../domain/route.ts';
import { haproxyPaths } from './haproxy-config.ts';
import type { RequestTimes, Responses } from './haproxy-replies.ts';
import { HaproxyRouter, type HaproxyRouterOptions } from './haproxy-router.ts';
import type { Router } from './router.ts';

export type HttpAndTcpRouterOptions = HaproxyRouterOptions & {
  httpPort: number;
  /** Of the second HAProxy. */
  tcpDir: string;
};

/**
 * Two HAProxys: a port that cannot be bound stops all traffic of its process for seconds, and every new TCP port is a
 * reload. The second one is started when the first app has a TCP port.
 */
export class HttpAndTcpRouter implements Router {
  readonly #http: HaproxyRouter;
  readonly #tcp: HaproxyRouter;
  readonly #tcpDir: string;
  #tcpStarted: Promise<void> | undefined;

  constructor({ tcpDir, httpPort, ...options }: HttpAndTcpRouterOptions) {
    this.#http = new HaproxyRouter({ ...options, httpPort });
    this.#tcp = new HaproxyRouter({ ...options, dir: tcpDir });
    this.#tcpDir = tcpDir;
  }

  async start(): Promise<void> {
    await this.#http.start();
    const wasInUse = await access(haproxyPaths(this.#tcpDir).config).then(
      () => true,
      () => false,
    );
    if (wasInUse) await this.#startTcp();
  }

  async apply(routes: readonly Route[]): Promise<void> {
    const tcpRoutes = tcpRoutesOf(routes);
    await Promise.all([this.#http.apply(routes), this.#applyTcp(tcpRoutes)]);
  }

  async drain(
    app: AppName,
    endpoint: Endpoint,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<'idle' | 'cut'> {
    const drains = [this.#http.drain(app, endpoint, limitMs, signal)];
    if (this.#tcpStarted) drains.push(this.#tcp.drain(app, tcpEndpoint(endpoint), limitMs, signal));
    return (await Promise.all(drains)).includes('cut') ? 'cut' : 'idle';
  }

  /** How often visitors of apps were answered what, by kind of status. Begins anew with every reload. */
  async responses(): Promise<Responses> {
    return this.#http.responses();
  }

  /** How long visitors of apps waited lately. Begins anew with every reload. */
  async requestTimes(): Promise<RequestTimes | undefined> {
    return this.#http.requestTimes();
  }

  failures(app: AppName): Promise<ReadonlyMap<number, number>> {
    return this.#http.failures(app);
  }

  async close(): Promise<void> {
    await Promise.all([this.#http.close(), this.#tcp.close()]);
  }

  /** Ends both, and with them all traffic. */
  async stop(): Promise<void> {
    await Promise.all([this.#http.stop(), this.#tcp.stop()]);
  }

  async #applyTcp(routes: readonly Route[]): Promise<void> {
    if (routes.length === 0 && !this.#tcpStarted) return;
    await this.#startTcp();
    await this.#tcp.apply(routes);
  }

  #startTcp(): Promise<void> {
    this.#tcpStarted ??= mkdir(this.#tcpDir, { recursive: true, mode: 0o700 })
      .then(() => this.#tcp.start())
      .catch((error: unknown) => {
        this.#tcpStarted = undefined;
        throw error;
      });
    return this.#tcpStarted;
  }
}

/** The same routes as the router of TCP ports knows them. */
function tcpRoutesOf(routes: readonly Route[]): Route[] {
  return routes.flatMap((route) =>
    route.tcpPort === undefined
      ? []
      : [
          {
            ...route,
            stopped: false, // there is no page for those
            hosts: [String(route.tcpPort)],
            live: route.live.map(tcpEndpoint),
            draining: route.draining.map(tcpEndpoint),
          },
        ],
  );
}

function tcpEndpoint(endpoint: Endpoint): Endpoint {
  return { ...endpoint, port: endpoint.tcpPort ?? 4040 };
}
