import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';

/** A host name as browsers send it: lower case, punycode, no dot at the end. Safe as text for HAProxy. */
export type DomainName = string & { readonly domainName: unique symbol };

/** What people type or paste, or why it is no host name an app could have. */
export function parseDomainName(text: string): DomainName | { problem: string } {
  const typed = text.trim().replace(/\.$/, '');
  if (typed.includes('*')) return { problem: 'wildcards are not supported; add each host name' };
  if (/:\d*$/.test(typed)) return { problem: 'a domain has no port: all apps answer on the same one' };
  // It would leave some of these out.
  const host = /[\0-\x20\x7f%]/.test(typed) ? '' : domainToASCII(typed);
  if (host === '' || isIP(host) !== 0) return { problem: 'that is no host name' };
  const labels = host.split('.');
  const isSound = labels.every((label) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(label));
  if (!isSound || host.length > 253) return { problem: 'that is no host name' };
  if (labels.length < 2) return { problem: 'a domain has at least two parts, such as shop.example.com' };
  return host as DomainName;
}
