import { lstat, readdir, realpath } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import type { Problem } from '../domain/deployment.ts';
import { safeText } from '../domain/safe-text.ts';

/**
 * The Dockerfile's real path inside the checkout. Links are resolved, and refused when they leave it: a builder
 * quotes the first line of any file it cannot parse. Called right before the build, because hooks may change files.
 */
export async function findDockerfile(
  checkoutDir: string,
  wanted: string,
): Promise<{ path: string } | { problem: Problem }> {
  const root = await realpath(checkoutDir);
  const real = await realpath(join(root, wanted)).catch(() => undefined);
  if (real === undefined) return { problem: await missing(root, wanted) };
  const inside = relative(root, real);
  if (inside === '' || inside.startsWith(`..${sep}`) || inside === '..') {
    return {
      problem: {
        reason: 'the Dockerfile must be inside the repository',
        hints: ['CC_DOCKERFILE points out of it, through a link'],
      },
    };
  }
  if (!(await lstat(real)).isFile()) return { problem: { reason: `${safeText(wanted, 100)} is not a file` } };
  return { path: inside };
}

async function missing(root: string, wanted: string): Promise<Problem> {
  const name = safeText(wanted, 100);
  const entry = await lstat(join(root, wanted)).catch(() => undefined);
  if (entry?.isSymbolicLink()) return { reason: `${name} is a link that leads nowhere` };
  const found = await candidates(root);
  const reason = wanted === 'Dockerfile' ? 'no Dockerfile' : `no ${name} in the repository`;
  const [first] = found;
  return {
    reason,
    hints: first
      ? [`found ${safeText(first, 100)}: run  gantry env set CC_DOCKERFILE=${safeText(first, 100)}`]
      : ['add a file named Dockerfile to the top of the repository, or set CC_DOCKERFILE to its path'],
  };
}

/** Files that look as if they were meant, two folders deep. */
async function candidates(root: string): Promise<string[]> {
  const found: string[] = [];
  const visit = async (dir: string, depth: number): Promise<void> => {
    for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
      const path = join(dir, entry.name);
      if (entry.isFile() && /^(dockerfile|.*\.dockerfile|dockerfile\..*|containerfile)$/i.test(entry.name)) {
        if (!entry.name.endsWith('.dockerignore')) found.push(relative(root, path));
      } else if (entry.isDirectory() && depth > 0 && entry.name !== '.git' && entry.name !== 'node_modules') {
        await visit(path, depth - 1);
      }
    }
  };
  await visit(root, 2);
  return found.sort((a, b) => a.split('/').length - b.split('/').length || a.localeCompare(b));
}
