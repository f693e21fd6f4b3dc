import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { UsageError } from './exit-code.ts';

/** What `gantry login` remembers: a token per server, and which server was last logged in to. */
export type Logins = { current?: string; servers: Record<string, { token: string }> };

/** Readable by its owner only. */
export function loginsFile(): string {
  return join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'gantry', 'logins.json');
}

export async function readLogins(): Promise<Logins> {
  const text = await readFile(loginsFile(), 'utf8').catch((error: unknown) => {
    if ((error as { code?: string }).code === 'ENOENT') return '';
    throw new UsageError(`the logins cannot be read: ${String(error)}`);
  });
  if (text === '') return { servers: {} };
  try {
    const { current, servers } = JSON.parse(text) as Partial<Logins>;
    return { ...(current !== undefined && { current }), servers: { ...servers } };
  } catch {
    throw new UsageError(`${loginsFile()} is damaged; remove it and log in again`);
  }
}

/** Writes the whole file anew: a reader sees the old one or the new one. */
export async function changeLogins(change: (logins: Logins) => Logins): Promise<void> {
  const file = loginsFile();
  const changed = change(await readLogins());
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${randomUUID()}`;
  await writeFile(fresh, `${JSON.stringify(changed, null, 2)}\n`, { mode: 0o600 });
  await rename(fresh, file);
}

/** The logins with another token for this server, or without one. */
export function withToken(logins: Logins, server: string, token: string | undefined): Logins {
  const others = Object.entries(logins.servers).filter(([known]) => known !== server);
  const servers = Object.fromEntries(token === undefined ? others : [...others, [server, { token }]]);
  const isGone = token === undefined && logins.current === server;
  return isGone ? { servers } : { ...logins, servers };
}

/** The address of a server as it is kept: without user, query and trailing slashes. */
export function serverUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search || url.hash)
    throw new UsageError(`"${text}" is no address of a server: write https://deploy.example.com`);
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}
