import type { z } from 'zod';
import type { whoamiShape } from '../api/contract/accounts.ts';
import { ask, findServer } from './api-client.ts';
import { UsageError } from './exit-code.ts';
import { parseRemote, remoteUrl, stopBeingCredentialHelper, useAsCredentialHelper } from './git-settings.ts';
import { changeLogins, loginsFile, readLogins, serverUrl, withToken } from './logins.ts';
import { readSecret } from './read-secret.ts';

/** Keeps a token once the server has accepted it, for this command and for git. */
export async function login(address: string | undefined): Promise<void> {
  const server = await chosenServer(address);
  const token = await readSecret(`Token for ${server} (it is not shown): `);
  if (!/^\S{1,200}$/.test(token))
    throw new UsageError('that is no token: one word is expected, typed in or on standard input');
  const response = await ask({ url: server, token }, 'GET', '/whoami');
  const { name, scopes } = (await response.json()) as z.infer<typeof whoamiShape>;
  await changeLogins((logins) => ({ ...withToken(logins, server, token), current: server }));
  await useAsCredentialHelper(server, '--global');
  console.error(`logged in to ${server} as ${name} (${scopes.join(' ')}); kept in ${loginsFile()}`);
}

/** Forgets the token here; it goes on working elsewhere until it is revoked. */
export async function logout(address: string | undefined): Promise<void> {
  const server = await chosenServer(address);
  const { servers } = await readLogins();
  await stopBeingCredentialHelper(server);
  if (!servers[server]) return console.error(`there is no login to ${server}`);
  await changeLogins((logins) => withToken(logins, server, undefined));
  console.error(`logged out of ${server}; the token works until it is revoked: gantry tokens revoke`);
}

/** As given, or GANTRY_URL, where this repository is pushed to, the last login, this machine. */
async function chosenServer(address: string | undefined): Promise<string> {
  if (address !== undefined) return serverUrl(address);
  const remote = process.env.GANTRY_URL ? undefined : parseRemote((await remoteUrl()) ?? '')?.server;
  return remote ?? (await findServer()).url;
}
