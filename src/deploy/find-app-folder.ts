import { lstat, realpath } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Problem } from '../domain/deployment.ts';
import { safeText } from '../domain/safe-text.ts';

/**
 * The folder that APP_FOLDER names, without links. Links are resolved, and refused when they leave the checkout. Asked
 * again before the build: hooks may have changed what it is.
 */
export async function findAppFolder(
  checkoutDir: string,
  wanted: string,
): Promise<{ dir: string } | { problem: Problem }> {
  const root = await realpath(checkoutDir);
  const real = await realpath(join(root, wanted)).catch(() => undefined);
  const name = safeText(wanted, 100);
  if (real === undefined) {
    return {
      problem: {
        reason: `APP_FOLDER is ${name}, and the commit has no such folder`,
        hints: ['gantry env unset APP_FOLDER  if the app is at the top of the repository'],
      },
    };
  }
  const inside = relative(root, real);
  if (inside === '..' || inside.startsWith(`..${sep}`))
    return { problem: { reason: `APP_FOLDER is ${name}, a link that leads out of the repository` } };
  if (!(await lstat(real)).isDirectory())
    return { problem: { reason: `APP_FOLDER is ${name}, which is not a folder` } };
  return { dir: join(checkoutDir, inside) };
}
