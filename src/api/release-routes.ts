import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Account } from '../domain/account.ts';
import type { App } from '../domain/app.ts';
import type { EnvChanges } from '../domain/env-changes.ts';
import type { ImageSource } from '../domain/image-reference.ts';
import type { Release } from '../domain/release.ts';
import type { ReleaseStore } from '../store/release-store.ts';
import { type AppRoutesDeps, appParams, requireApp } from './app-routes.ts';
import {
  type envChangesShape,
  type releaseShape,
  releasesShape,
  rollbackShape,
} from './contract/deployments.ts';
import { pageOf, pageQuery } from './paging.ts';

export type ReleaseRoutesDeps = Pick<AppRoutesDeps, 'apps'> & {
  releases: ReleaseStore;
  /** Returns the number of the new deployment, and which release it brings back. */
  rollBack: (
    app: App,
    target: number | 'previous',
    account: Account,
  ) => Promise<{ number: number; release: number }>;
};

/** `v12`, `12`, or the one that was live before. */
const versionParams = appParams.extend({
  version: z.string().regex(/^(v?[1-9]\d{0,8}|previous)$/, 'a release is called v12, or previous'),
});

/** What was live, and going back to it. */
export function releaseRoutes(deps: ReleaseRoutesDeps): FastifyPluginAsyncZod {
  return async (api) => {
    api.get(
      '/apps/:app/releases',
      {
        config: { right: 'read' },
        schema: { params: appParams, querystring: pageQuery, response: { 200: releasesShape } },
      },
      async (request, reply) => {
        const app = await requireApp(deps, request.account, request.params.app);
        const releases = pageOf(await deps.releases.list(app.name), ({ number }) => number, request, reply);
        return { releases: releases.map((release) => describe(app, release)) };
      },
    );

    api.post(
      '/apps/:app/releases/:version/rollback',
      {
        config: { right: 'deploy', action: 'roll back' },
        schema: { params: versionParams, response: { 202: rollbackShape } },
      },
      async ({ account, params }, reply) => {
        const app = await requireApp(deps, account, params.app);
        const { version } = params;
        const target = version === 'previous' ? version : Number(version.replace('v', ''));
        const asked = await deps.rollBack(app, target, account);
        return reply
          .status(202)
          .header('location', `/api/v1/apps/${app.name}/deployments/${asked.number}`)
          .send(asked);
      },
    );
  };
}

function describe(app: App, release: Release): z.infer<typeof releaseShape> {
  const { number, commit, pull, subject, by, trigger, rollbackTo, imageBytes, createdAt, isKept } = release;
  const { published } = release;
  return {
    number,
    commit,
    image: describeImage(pull),
    subject,
    by,
    trigger,
    rollbackTo: rollbackTo ?? null,
    published: published ?? null,
    imageSize: imageBytes ?? null,
    env: describeEnvChanges(release.envChanges),
    createdAt: createdAt.toISOString(),
    live: app.live === number,
    crashed: release.hasCrashed,
    eligible_for_rollback: isKept && app.live !== number,
  };
}

export function describeEnvChanges(changes: EnvChanges | undefined): z.infer<typeof envChangesShape> | null {
  if (!changes) return null;
  const { added, changed, removed } = changes;
  return { added: [...added], changed: [...changed], removed: [...removed] };
}

export function describeImage(pull: ImageSource | undefined): z.infer<typeof releaseShape>['image'] {
  return pull ? { reference: pull.reference, digest: pull.digest ?? null } : null;
}
