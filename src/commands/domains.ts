import type { domainShape, domainsShape } from '../api/contract/networks.ts';
import { isInternal } from '../domain/domain.ts';
import { appName, call, request } from './api-client.ts';
import { printJson } from './print.ts';

type Options = { app?: string; json?: boolean };

export async function listDomains(options: Options): Promise<void> {
  const { domains } = await call<typeof domainsShape>('GET', `/apps/${await appName(options.app)}/domains`);
  if (options.json) return printJson(domains);
  for (const domain of domains) console.log(domain);
}

export async function addDomain(domain: string, options: Options): Promise<void> {
  const app = await appName(options.app);
  const added = await call<typeof domainShape>('POST', `/apps/${app}/domains`, { domain });
  if (options.json) return printJson(added);
  console.error(
    isInternal(added.domain)
      ? `${added.domain} leads to ${app} inside the apps that may: gantry network-policy add SOURCE ${app}`
      : `${added.domain} leads to ${app} from now on; its DNS entry has to lead here`,
  );
}

export async function removeDomain(domain: string, options: Options): Promise<void> {
  const app = await appName(options.app);
  await request('DELETE', `/apps/${app}/domains/${encodeURIComponent(domain)}`);
  console.error(`${domain} does not lead to ${app} any more`);
}
