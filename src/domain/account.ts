import { type AppName, parseAppName } from './app.ts';

/** Who asks, as proved by a token. */
export type Account = {
  tokenId: string;
  name: string;
  scopes: readonly Scope[];
};

export type Scope = 'admin' | `deploy:${string}` | `read:${string}`;

export function canDeploy(account: Pick<Account, 'scopes'>, app: AppName): boolean {
  return account.scopes.some((scope) => scope === 'admin' || scope === `deploy:${app}`);
}

export function canRead(account: Pick<Account, 'scopes'>, app: AppName): boolean {
  return canDeploy(account, app) || account.scopes.some((scope) => scope === `read:${app}`);
}

export function isAdmin(account: Pick<Account, 'scopes'>): boolean {
  return account.scopes.includes('admin');
}

/** `admin`, `deploy:<app>` or `read:<app>`; the app need not exist yet, its first push creates it. */
export function parseScope(text: string): Scope | undefined {
  if (text === 'admin') return text;
  const [, right, app = ''] = /^(deploy|read):(.+)$/.exec(text) ?? [];
  return right && parseAppName(app) ? `${right as 'deploy' | 'read'}:${app}` : undefined;
}
