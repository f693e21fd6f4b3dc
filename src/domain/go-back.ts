import type { AppOptions } from './app-options.ts';

/** What a rollback changes besides the route, at the same moment. A name or option that somebody changed meanwhile stays. */
export type GoBack = {
  /** Sealed values; empty: there is none. */
  env: readonly { name: string; from: string; to: string }[];
  /** As they are stored. */
  options: { from: string; to: string };
};

/**
 * What a rollback makes of the settings of an app: those that were in force with the release it leaves become what they
 * were with the one it goes back to. What was set since and never in force stays: it would be lost for ever.
 */
export function goneBack<Value>(settings: {
  now: Readonly<Record<string, Value>>;
  leaving: Readonly<Record<string, Value>>;
  target: Readonly<Record<string, Value>>;
}): { result: Record<string, Value>; waiting: string[] } {
  const { now, leaving, target } = settings;
  const result: Record<string, Value> = Object.create(null) as Record<string, Value>;
  const waiting: string[] = [];
  const names = new Set([...Object.keys(now), ...Object.keys(leaving), ...Object.keys(target)]);
  for (const name of [...names].sort()) {
    const isWaiting = !isSame(now[name], leaving[name]) && !isSame(now[name], target[name]);
    if (isWaiting) waiting.push(name);
    const value = isWaiting ? now[name] : target[name];
    if (value !== undefined) result[name] = value;
  }
  return { result, waiting };
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** What administrators took from an app since, and a release of before still has. */
export function regainedRights(before: AppOptions, now: AppOptions): string[] {
  return [
    ...(before.network === 'host' && now.network !== 'host' ? ['the network of the host'] : []),
    ...(before.dockerSocket && !now.dockerSocket ? ['the Docker socket'] : []),
    ...before.dockerNetworks
      .filter((name) => !now.dockerNetworks.includes(name))
      .map((name) => `the network ${name}`),
    ...before.extraHosts
      .filter(
        (host) => !now.extraHosts.some(({ name, address }) => name === host.name && address === host.address),
      )
      .map(({ name, address }) => `the host ${name}:${address}`),
  ];
}
