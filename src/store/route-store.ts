import type { Redis } from 'ioredis';
import type { AppName } from '../domain/app.ts';
import { isInternal } from '../domain/domain.ts';
import type { Endpoint, Route } from '../domain/route.ts';
import { keys, type StoreEvent } from './keys.ts';

/** Ten times as often it says so, though over a slow network less often. */
const aliveMs = 15_000;

/** Host names and TCP ports are a matter of settings and of the app, so they are not kept with a route. */
export type StoredRoute = Omit<Route, 'hosts' | 'tcpPort'> & {
  /** Stopped to make room for a release that cannot run beside them; they are started again should it fail. */
  paused: readonly Endpoint[];
  /** Instances of a release that should serve and do not. */
  missing?: { release: number; count: number };
};

/**
 * The routes as they should be, and how far each router has got. Only the switch script of a deployment adds an endpoint;
 * routers report what they applied, and an endpoint leaves the route when every router has drained it.
 */
export class RouteStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async get(app: AppName): Promise<StoredRoute | undefined> {
    const text = await this.#redis.get(keys.route(app));
    return text ? parseRoute(text) : undefined;
  }

  /** Of the apps that were live. */
  async stored(): Promise<StoredRoute[]> {
    const texts = await this.#texts();
    return [...texts.values()].flatMap((text) => (text ? [parseRoute(text)] : []));
  }

  /** One route for every app; an app without a release has one with nobody behind it. */
  async all(hostsOf: (app: AppName) => readonly string[]): Promise<Route[]> {
    const [texts, tcpPorts, domains] = await Promise.all([
      this.#texts(),
      this.#redis.hgetall(keys.tcpPorts),
      this.#redis.hgetall(keys.domains),
    ]);
    const ofApp = new Map<string, string[]>();
    for (const [domain, app] of Object.entries(domains))
      if (!isInternal(domain)) ofApp.set(app, [...(ofApp.get(app) ?? []), domain]);
    return [...texts].map(([app, text]) => {
      const tcpPort = Number(tcpPorts[app] ?? 0);
      return {
        ...(text ? parseRoute(text) : { app, version: 0, live: [], draining: [] }),
        hosts: [...hostsOf(app), ...(ofApp.get(app) ?? [])],
        ...(tcpPort > 0 && { tcpPort }),
      };
    });
  }

  async #texts(): Promise<Map<AppName, string | null>> {
    const apps = ((await this.#redis.smembers(keys.apps)) as AppName[]).sort();
    const texts = apps.length === 0 ? [] : await this.#redis.mget(apps.map((app) => keys.route(app)));
    return new Map(apps.map((app, index) => [app, texts[index] ?? null]));
  }

  /** A router says that everything up to these versions is what it does. */
  async acknowledge(router: string, routes: readonly Route[]): Promise<void> {
    const applied = Object.fromEntries(routes.map((route) => [route.app, String(route.version)]));
    const change = this.#redis
      .multi()
      .sadd(keys.routers, router)
      .set(keys.routerAlive(router), '1', 'PX', aliveMs);
    if (routes.length > 0) change.hset(keys.router(router), applied);
    await change.exec();
  }

  async announceApplied(routes: readonly Route[]): Promise<void> {
    for (const route of routes)
      await this.#publish({ kind: 'applied', app: route.app, version: route.version });
  }

  async keepAlive(router: string): Promise<void> {
    await this.#redis
      .multi()
      .sadd(keys.routers, router)
      .set(keys.routerAlive(router), '1', 'PX', aliveMs)
      .exec();
  }

  async hasLivingRouter(): Promise<boolean> {
    const routers = await this.#redis.smembers(keys.routers);
    const alive = await Promise.all(routers.map((router) => this.#redis.exists(keys.routerAlive(router))));
    return alive.includes(1);
  }

  /**
   * Whether every living router does at least this version. A router that is away may still serve the old route, so
   * with none alive the answer is no.
   */
  async isApplied(app: AppName, version: number): Promise<boolean> {
    const routers = await this.#redis.smembers(keys.routers);
    let alive = 0;
    for (const router of routers) {
      if ((await this.#redis.exists(keys.routerAlive(router))) === 0) continue;
      alive += 1;
      if (Number((await this.#redis.hget(keys.router(router), app)) ?? -1) < version) return false;
    }
    return alive > 0;
  }

  /**
   * Takes a drained endpoint out of the route, when the gates of the app, should it have some, have let go of it as well
   * as the router. Nothing dials it any more then: its container may go.
   */
  async forgetDrained(app: AppName, { container }: Endpoint, by: 'router' | 'gates'): Promise<void> {
    const flag = by === 'router' ? 'isLetGoByRouter' : 'isLetGoByGates';
    await this.#redis.eval(forgetScript, 2, keys.route(app), keys.gated, app, container, flag);
    await this.#publish({ kind: 'drained', app, container });
  }

  /** Apps that have gates. */
  async gated(): Promise<AppName[]> {
    return (await this.#redis.smembers(keys.gated)) as AppName[];
  }

  /** From now on its containers go only when the gates have let go of them. */
  async gate(app: AppName): Promise<void> {
    await this.#redis.sadd(keys.gated, app);
  }

  async ungate(app: AppName): Promise<void> {
    await this.#redis.eval(forgetScript, 2, keys.route(app), keys.gated, app, '', '');
    await this.#publish({ kind: 'drained', app, container: '' });
  }

  async #publish(event: StoreEvent): Promise<void> {
    await this.#redis.publish(keys.channel, JSON.stringify(event));
  }
}

function parseRoute(text: string): StoredRoute {
  const route = JSON.parse(text) as StoredRoute;
  // Redis' cjson writes an empty list as {}.
  const list = <T>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : []);
  return { ...route, live: list(route.live), draining: list(route.draining), paused: list(route.paused) };
}

/** Without a container: the app has no gates any more. */
const forgetScript = `
local app, container, flag = unpack(ARGV)
if container == '' then redis.call('SREM', KEYS[2], app) end
local isGated = redis.call('SISMEMBER', KEYS[2], app) == 1
local text = redis.call('GET', KEYS[1])
if not text then return 0 end
local route, kept = cjson.decode(text), {}
for _, endpoint in ipairs(route.draining or {}) do
  if endpoint.container == container then endpoint[flag] = true end
  if not (endpoint.isLetGoByRouter and (endpoint.isLetGoByGates or not isGated)) then table.insert(kept, endpoint) end
end
route.draining = kept
redis.call('SET', KEYS[1], cjson.encode(route))
return 0
`;
