import type { AppName } from './app.ts';

/** Who asks, as proved by a token. */
export type Account = {
  tokenId: string;
  name: string;
  scopes: readonly Scope[];
};

export type Scope = 'admin' | `deploy:${string}` | `read:${string}`;

export function canDeploy(account: Account, app: AppName): boolean {
  return account.scopes.some((scope) => scope === 'admin' || scope === `deploy:${app}`);
}

export function canRead(account: Account, app: AppName): boolean {
  return canDeploy(account, app) || account.scopes.some((scope) => scope === `read:${app}`);
}

export function isAdmin(account: Account): boolean {
  return account.scopes.includes('admin');
}
