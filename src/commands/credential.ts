import { text } from 'node:stream/consumers';
import { findServer } from './api-client.ts';
import { changeLogins, readLogins, withToken } from './logins.ts';

type Asked = Partial<Record<'protocol' | 'host' | 'path' | 'password', string>>;

/**
 * git's credential helper: `get` tells the token, `erase` forgets one that the server refused, `store` keeps one it took
 * where there is none. Told to quit, git does not ask a person for a password that nobody has.
 */
export async function credential(action: string): Promise<void> {
  const asked = parse(await text(process.stdin));
  if (!asked.protocol || !asked.host) return;
  const origin = `${asked.protocol}://${asked.host}`;
  if (action === 'get') {
    const token = await tokenFor(origin);
    if (token !== undefined) return void process.stdout.write(`username=gantry\npassword=${token}\n`);
    console.error(`error: there is no token for ${origin}\nhint: gantry login ${origin}`);
    process.stdout.write('quit=1\n');
  }
  if (action === 'erase') {
    await changeServer(origin, (token) => (token === asked.password ? undefined : token));
  }
  if (action === 'store') await changeServer(origin, (token) => token ?? asked.password);
}

/** That of every other command, if it would ask this server; else that of a login. */
async function tokenFor(origin: string): Promise<string | undefined> {
  const { url, token } = await findServer();
  if (new URL(url).origin === origin) return token;
  const { servers } = await readLogins();
  return Object.entries(servers).find(([server]) => new URL(server).origin === origin)?.[1].token;
}

async function changeServer(
  origin: string,
  change: (token: string | undefined) => string | undefined,
): Promise<void> {
  const { servers } = await readLogins();
  const server = Object.keys(servers).find((known) => new URL(known).origin === origin) ?? origin;
  const before = servers[server]?.token;
  const token = change(before);
  if (token === before) return;
  await changeLogins((logins) => withToken(logins, server, token));
}

function parse(input: string): Asked {
  return Object.fromEntries(
    input
      .split('\n')
      .map((line) => /^([^=]+)=(.*)$/.exec(line.trimEnd()))
      .flatMap((match) => (match ? [[match[1], match[2]]] : [])),
  ) as Asked;
}
