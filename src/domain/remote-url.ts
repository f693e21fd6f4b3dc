import { isIP } from 'node:net';

/** Where a repository is fetched from, taken apart so that nothing of it can be read as anything else. */
export type RemoteUrl = {
  protocol: 'https' | 'ssh';
  host: string;
  port: number;
  /** With ssh the account; with https nothing, unless the URL holds a login. */
  user: string | undefined;
  password: string | undefined;
  /** As git is to be given it; a login is not in it. */
  url: string;
};

/** The one form that is safe to fetch, or why it is not. Anybody may have written the text. */
export function parseRemoteUrl(text: string): RemoteUrl | { problem: string } {
  if (text.length > 2000 || !/^[\x21-\x7e]+$/.test(text))
    return { problem: 'its URL holds characters no URL has' };
  const short = /^([A-Za-z0-9_][\w.-]*)@([A-Za-z0-9][\w.-]*):(?!\/\/|-)([^:]+)$/.exec(text);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (short && url?.protocol !== 'https:' && url?.protocol !== 'ssh:') {
    const [, user = '', host = '', path = ''] = short;
    return ssh(user, host, 22, path.startsWith('/') ? path : `/~/${path}`, `${user}@${host}:${path}`);
  }
  if (!url || !/^(https|ssh):\/\//.test(text)) return { problem: 'only https and ssh URLs are fetched' };
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (!isHost(host)) return { problem: 'its URL has no usable host name' };
  const user = url.username === '' ? undefined : decoded(url.username);
  const password = url.password === '' ? undefined : decoded(url.password);
  if (url.protocol === 'ssh:') {
    if (user !== undefined && !/^[A-Za-z0-9_][\w.-]*$/.test(user))
      return { problem: 'its URL has an account no ssh server has' };
    return ssh(user ?? 'git', host, url.port === '' ? 22 : Number(url.port), url.pathname, undefined);
  }
  url.username = '';
  url.password = '';
  const port = url.port === '' ? 443 : Number(url.port);
  return { protocol: 'https', host, port, user, password, url: url.href };
}

function ssh(
  user: string,
  host: string,
  port: number,
  path: string,
  short: string | undefined,
): RemoteUrl | { problem: string } {
  if (path.length < 2 || /^\/+-/.test(path) || path.startsWith('-'))
    return { problem: 'its URL has no usable path' };
  if (!isHost(host)) return { problem: 'its URL has no usable host name' };
  const place = isIP(host) === 6 ? `[${host}]` : host;
  const url = short ?? `ssh://${user}@${place}:${port}${path}`;
  return { protocol: 'ssh', host, port, user, password: undefined, url };
}

function isHost(host: string): boolean {
  return isIP(host) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9_.-]{0,250}[A-Za-z0-9])?$/.test(host);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** For people: without a login, without what could be mistaken for something else. */
export function showRemoteUrl(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, '$1');
}
