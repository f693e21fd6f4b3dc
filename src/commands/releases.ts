import type { z } from 'zod';
import type { releaseShape, releasesShape } from '../api/contract/deployments.ts';
import { showEnvChanges } from '../domain/env-changes.ts';
import { appName, collect } from './api-client.ts';
import { sourceHead, sourceOf } from './deploys.ts';
import { printJson, printTable } from './print.ts';

/** What was live, the newest first, and which of it can be brought back. */
export async function listReleases(options: { app?: string; json?: boolean }): Promise<void> {
  const path = `/apps/${await appName(options.app)}/releases`;
  const releases = await collect<typeof releasesShape, 'releases'>(path, 'releases');
  if (options.json) return printJson(releases);
  if (releases.length === 0) return console.error('nothing was live yet: git push clever main');
  printTable(
    ['RELEASE', 'STATE', sourceHead(releases), 'BY', 'WHEN', 'IMAGE', 'VARIABLES', 'WHAT'],
    releases.map((release) => [
      `v${release.number}`,
      stateOf(release),
      sourceOf(release),
      release.by,
      release.createdAt,
      release.imageSize === null ? '' : `${Math.max(1, Math.round(release.imageSize / 1e6))} MB`,
      release.env ? showEnvChanges(release.env) : '',
      release.rollbackTo === null ? release.subject : `v${release.rollbackTo} again: ${release.subject}`,
    ]),
  );
}

function stateOf({ live, crashed, eligible_for_rollback }: z.infer<typeof releaseShape>): string {
  if (live) return crashed ? 'live, crashed' : 'live';
  if (crashed) return 'crashed';
  return eligible_for_rollback ? 'kept' : 'image freed';
}
