import type { AppName } from './app.ts';
import type { Domain } from './domain.ts';
import type { NetworkPolicy, PortRule } from './network-policy.ts';

/** A gate that should be there: it has the internal host name `name` of `app` in the networks of the sources. */
export type GateWish = {
  name: Domain;
  app: AppName;
  sources: readonly { app: AppName; ports: readonly PortRule[] }[];
};

/** One gate for each internal host name of an app that others may reach. */
export function planGates(
  policies: readonly NetworkPolicy[],
  names: readonly { domain: Domain; app: AppName }[],
): GateWish[] {
  return names.flatMap(({ domain, app }) => {
    const toIt = policies.filter(({ destination }) => destination === app);
    const sources = [...new Set(toIt.map(({ source }) => source))].map((source) => ({
      app: source,
      ports: toIt
        .filter((policy) => policy.source === source)
        .map(({ protocol, port, endPort }) => ({ protocol, port, endPort })),
    }));
    return sources.length === 0 ? [] : [{ name: domain, app, sources }];
  });
}
