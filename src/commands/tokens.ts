import type { madeTokenShape, tokensShape, whoamiShape } from '../api/contract/accounts.ts';
import { call, collect, request } from './api-client.ts';
import { printJson, printTable } from './print.ts';

type Json = { json?: boolean };

export async function listTokens({ json }: Json): Promise<void> {
  const tokens = await collect<typeof tokensShape, 'tokens'>('/tokens', 'tokens');
  if (json) return printJson(tokens);
  printTable(
    ['ID', 'NAME', 'MAY', 'BY', 'EXPIRES', 'LAST USED'],
    tokens.map(({ id, name, scopes, createdBy, expires, lastUsed }) => [
      id,
      name,
      scopes.join(' '),
      createdBy || '-',
      minute(expires) ?? 'never',
      minute(lastUsed) ?? '-',
    ]),
  );
}

/** The token goes to standard output, so that it can be piped to where it is needed. */
export async function createToken(
  name: string,
  { scope, expires, json }: Json & { scope: string[]; expires?: string },
): Promise<void> {
  const made = await call<typeof madeTokenShape>('POST', '/tokens', {
    name,
    scopes: scope,
    expires: expires ?? null,
  });
  if (json) return printJson(made);
  console.log(made.token);
  console.error(
    `this is ${made.id} "${made.name}" (${made.scopes.join(' ')}, expires ${minute(made.expires) ?? 'never'}); it is shown only now`,
  );
}

export async function revokeToken(id: string): Promise<void> {
  await request('DELETE', `/tokens/${encodeURIComponent(id)}`);
  console.error(`token ${id} is revoked`);
}

export async function whoami({ json }: Json): Promise<void> {
  const account = await call<typeof whoamiShape>('GET', '/whoami');
  if (json) return printJson(account);
  console.log(`${account.name} (${account.scopes.join(' ')})`);
}

function minute(time: string | null): string | undefined {
  return time === null ? undefined : `${time.slice(0, 16).replace('T', ' ')} UTC`;
}
