import { isIP, SocketAddress } from 'node:net';
import type { Endpoint, Route } from '../domain/route.ts';

/** Where a slot points. Two containers never share an address and port at the same time. */
export type Target = { address: string; port: number };

/**
 * One of the fixed `server` lines of an app's backend. A draining slot takes nothing new and stays reserved until its
 * container is idle in every HAProxy process.
 */
export type Slot = { use: 'free' } | ({ use: 'live' | 'draining' } & Target);
export type BusySlot = Exclude<Slot, { use: 'free' }>;

/** App name to its slots, in the order of the `server` lines. */
export type Backends = ReadonlyMap<string, readonly Slot[]>;

/**
 * What leads where, as a request is looked up: `shop.test/` or `shop.test/api/` to the app that answers there and below,
 * the longest that fits. For TCP a port.
 */
export type Hosts = ReadonlyMap<string, string>;

/** What a free slot is written as. Nothing is dialled there: the slot is also disabled. */
export const freeTarget: Target = { address: '127.0.0.1', port: 1 };

export function slotAt(target: Target, use: 'live' | 'draining'): Slot {
  return pointsTo(freeTarget, target) ? { use: 'free' } : { use, address: target.address, port: target.port };
}

export function pointsTo(target: Target, other: Target): boolean {
  return target.address === other.address && target.port === other.port;
}

/** The address in the one spelling HAProxy prints it in, so that what we want can be compared with what it has. */
export function targetOf(endpoint: Endpoint): Target {
  const { address, port } = endpoint;
  if (isIP(address) === 0 || !Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Error(`container ${endpoint.container} has no address the router can dial: ${address}:${port}`);
  }
  const canonical = isIP(address) === 6 ? new SocketAddress({ address, family: 'ipv6' }).address : address;
  return { address: canonical, port };
}

/** The hosts of all routes, with their paths. What two apps claim stays with the first of them. */
export function hostsOf(routes: readonly Route[]): Hosts {
  const hosts = new Map<string, string>();
  for (const route of routes) {
    for (const name of route.hosts) {
      const lower = name.toLowerCase();
      if (!hostPattern.test(lower)) throw new Error(`"${name}" of app ${route.app} is not a host name`);
      const host = isPort(lower) ? lower : `${lower}/`;
      if (!hosts.has(host)) hosts.set(host, route.stopped ? stoppedApp : route.app);
    }
  }
  return hosts;
}

/** In the place of an app that somebody stopped; it is no name an app can have. */
export const stoppedApp = '-';

/** Nothing else may get near HAProxy's command line and map files. */
const hostPattern = /^[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?(?:\/[a-z0-9._~-]{1,128}){0,64}$/;

function isPort(host: string): boolean {
  return /^\d+$/.test(host);
}

/**
 * The slots that make HAProxy follow `routes`, starting from the ones it has. Nothing moves that need not: a live
 * endpoint keeps its slot, an endpoint that comes back while it drains is taken up again, and every other busy slot is
 * left to drain.
 */
export function planSlots(current: Backends, routes: readonly Route[]): Backends {
  const byApp = new Map<string, Route>(routes.map((route) => [route.app, route]));
  const planned = new Map<string, readonly Slot[]>();
  for (const app of new Set([...current.keys(), ...byApp.keys()])) {
    planned.set(app, planApp(current.get(app) ?? [], byApp.get(app)?.live.map(targetOf) ?? []));
  }
  return isStructural(current, planned) ? withoutLeftovers(planned, byApp) : planned;
}

/** Whether HAProxy must read the file again: slots can be changed at run time, but not made. */
export function isStructural(current: Backends, planned: Backends): boolean {
  if (current.size !== planned.size) return true;
  return [...planned].some(([app, slots]) => current.get(app)?.length !== slots.length);
}

export function replaceSlot(backends: Backends, app: string, index: number, slot: Slot): Backends {
  const slots = backends.get(app) ?? [];
  return new Map(backends).set(
    app,
    slots.map((existing, at) => (at === index ? slot : existing)),
  );
}

function planApp(current: readonly Slot[], live: readonly Target[]): Slot[] {
  const kept = current.map((slot): Slot => {
    if (slot.use === 'free') return slot;
    const use = live.some((target) => pointsTo(slot, target)) ? 'live' : 'draining';
    return use === slot.use ? slot : { ...slot, use };
  });
  const missing = live.filter(
    (target, at) =>
      !kept.some((slot) => slot.use !== 'free' && pointsTo(slot, target)) &&
      live.findIndex((other) => pointsTo(other, target)) === at,
  );
  const slots = withRoomFor(kept, live.length, missing.length);
  for (const target of missing) {
    slots[slots.findIndex((slot) => slot.use === 'free')] = slotAt(target, 'live');
  }
  return slots;
}

/** Grows only when the free slots do not suffice, and then by enough for the next swap too: growing costs a reload. */
function withRoomFor(slots: readonly Slot[], replicas: number, missing: number): Slot[] {
  const free = slots.filter((slot) => slot.use === 'free').length;
  if (slots.length > 0 && free >= missing) return [...slots];
  const length = Math.max(4, 2 * replicas + 2, slots.length - free + missing + 2);
  return Array.from({ length }, (_, at) => slots[at] ?? { use: 'free' });
}

/** A removed app's backend goes with the next reload, which something else needs anyway. */
function withoutLeftovers(planned: Backends, byApp: ReadonlyMap<string, Route>): Backends {
  return new Map(
    [...planned].filter(([app, slots]) => byApp.has(app) || slots.some((slot) => slot.use !== 'free')),
  );
}
