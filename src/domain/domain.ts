import { type DomainName, parseDomainName } from './domain-name.ts';

/**
 * Where visitors reach an app: a host name, or a part of one as `shop.example.com/api`, which leads to the app for the
 * path itself and everything below it. In lower case, without a slash at the end. Safe as text for HAProxy.
 */
export type Domain = string & { readonly domain: unique symbol };

/** As in Cloud Foundry. */
const longestPath = 128;

/** What people type or paste, or why nothing can be reached there. */
export function parseDomain(text: string): Domain | { problem: string } {
  const typed = text.trim();
  if (/^[a-z]+:\/\//i.test(typed) || /[?#@]/.test(typed))
    return {
      problem: 'that is a URL; a domain is a host name, with a path or without: shop.example.com/api',
    };
  const slash = typed.indexOf('/');
  if (slash === -1) return parseDomainName(typed) as Domain | { problem: string };
  const host = parseDomainName(typed.slice(0, slash));
  if (typeof host !== 'string') return host;
  const path = typed.slice(slash).replace(/\/$/, '').toLowerCase();
  if (path !== '' && isInternal(host)) return { problem: 'an internal host name has no path' };
  const problem = problemWithPath(path);
  return problem === undefined ? (`${host}${path}` as Domain) : { problem };
}

function problemWithPath(path: string): string | undefined {
  if (path === '') return undefined;
  if (path.includes('*')) return 'a path has no wildcards: it stands for everything below it';
  if (path.length > longestPath) return `a path has at most ${longestPath} characters`;
  const segments = path.split('/').slice(1);
  if (segments.includes('')) return 'a path has no empty parts, as between two slashes';
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return 'a path is written out, without . and .. as parts';
  if (path.includes('%')) return 'a path is written as it is, without percent signs';
  if (!segments.every((segment) => /^[a-z0-9._~-]+$/.test(segment)))
    return 'a path is made of letters, digits and - . _ ~ between its slashes';
  return undefined;
}

/** Known inside apps alone, and only to those that may: `shop.internal`, or as Cloud Foundry has it `shop.apps.internal`. */
export function isInternal(domain: string): boolean {
  return /^[^.]+(?:\.apps)?\.internal$/.test(domain);
}

export function hostOf(domain: Domain): DomainName {
  return domain.split('/', 1)[0] as DomainName;
}
