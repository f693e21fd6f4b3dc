import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { UsageError } from './exit-code.ts';

const gantry = fileURLToPath(new URL('../../bin/gantry', import.meta.url));

/** What git prints; nothing when it fails. */
export async function git(...args: string[]): Promise<string | undefined> {
  try {
    return (await promisify(execFile)('git', args)).stdout.trim();
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENOENT')
      throw new UsageError('git is not installed, or not in the PATH');
    return undefined;
  }
}

/** Where the repository around here is pushed to. */
export async function remoteUrl(): Promise<string | undefined> {
  return git('remote', 'get-url', 'clever').catch(() => undefined);
}

/** The server and the app of an address like `https://deploy.example.com/shop.git`. */
export function parseRemote(address: string): { server: string; app: string } | undefined {
  const [, scheme, host, path = '', app] =
    /^(https?:\/\/)(?:[^/@]*@)?([^/?#]+)((?:\/[^/?#]+)*)\/([^/?#]+?)(?:\.git)?\/?$/.exec(address) ?? [];
  return scheme && host && app ? { server: `${scheme}${host}${path}`, app } : undefined;
}

/**
 * Lets git ask us, and nobody else, for the token of this server. The empty helper takes back those of other settings:
 * git would hand them the token to keep.
 */
export async function useAsCredentialHelper(server: string, where: '--global' | '--local'): Promise<void> {
  const name = `credential.${server}.helper`;
  // git gives this to a shell, which is why it is quoted.
  const helper = `'${gantry.replaceAll("'", "'\\''")}' credential`;
  await git('config', where, '--replace-all', name, '');
  if ((await git('config', where, '--add', name, `!${helper}`)) === undefined)
    throw new UsageError(`git config ${where} failed: git does not know where to write its settings`);
}

export async function stopBeingCredentialHelper(server: string): Promise<void> {
  await git('config', '--global', '--unset-all', `credential.${server}.helper`);
}
