import type { domainsShape, networkPoliciesShape, networkPolicyShape } from '../api/contract/networks.ts';
import { isInternal } from '../domain/domain.ts';
import { defaultPort, portsText } from '../domain/network-policy.ts';
import { appName, call, collect, request } from './api-client.ts';
import { printJson, printTable } from './print.ts';

type Options = { port?: string; protocol?: string; json?: boolean };

export async function listNetworkPolicies(options: { source?: string; json?: boolean }): Promise<void> {
  const all = await collect<typeof networkPoliciesShape, 'policies'>('/network-policies', 'policies');
  const policies = all.filter(({ source }) => options.source === undefined || source === options.source);
  if (options.json) return printJson(policies);
  printTable(
    ['SOURCE', 'DESTINATION', 'PROTOCOL', 'PORTS'],
    policies.map((policy) => [policy.source, policy.destination, policy.protocol, portsText(policy)]),
  );
}

export async function addNetworkPolicy(from: string, destination: string, options: Options): Promise<void> {
  const source = await appName(from);
  const added = await call<typeof networkPolicyShape>('POST', `/apps/${source}/network-policies`, {
    destination,
    ...(options.protocol !== undefined && { protocol: options.protocol }),
    ...(options.port !== undefined && { ports: options.port }),
  });
  if (options.json) return printJson(added);
  console.error(
    `${added.source} reaches ${added.destination} at its internal host names, ${added.protocol} ${portsText(added)}`,
  );
  const { domains } = await call<typeof domainsShape>(
    'GET',
    `/apps/${encodeURIComponent(added.destination)}/domains`,
  );
  if (!domains.some(isInternal))
    console.error(
      `${added.destination} has none yet: gantry domains add ${added.destination}.internal --app ${added.destination}`,
    );
}

export async function removeNetworkPolicy(
  from: string,
  destination: string,
  { port = String(defaultPort), protocol = 'tcp' }: Options,
): Promise<void> {
  const source = await appName(from);
  const which = [destination, protocol, port].map(encodeURIComponent).join('/');
  await request('DELETE', `/apps/${source}/network-policies/${which}`);
  console.error(`${source} does not reach ${destination} with ${protocol} ${port} any more`);
}
