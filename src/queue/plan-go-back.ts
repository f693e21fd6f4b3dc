import { type AppOptions, problemWithAppOptions, readAppOptions } from '../domain/app-options.ts';
import type { Deployment } from '../domain/deployment.ts';
import { type GoBack, goneBack } from '../domain/go-back.ts';
import type { AppStore } from '../store/app-store.ts';
import type { DeploymentStore } from '../store/deployment-store.ts';
import type { ReleaseStore } from '../store/release-store.ts';

type Deps = { apps: AppStore; deployments: DeploymentStore; releases: ReleaseStore };

/** What a rollback is to change about the app once it serves, as on Heroku: else the next push brought back what it undid. */
export async function planGoBack(
  deps: Deps,
  { app, number, options: target }: Deployment,
): Promise<{ back: GoBack; waiting: string[] }> {
  const { apps, deployments, releases } = deps;
  const live = (await apps.get(app))?.live ?? 0;
  const [sealed, targetSealed, leavingSealed, optionsText, leaving] = await Promise.all([
    apps.sealedEnv(app),
    deployments.sealedEnv(app, number),
    releases.sealedEnv(app, live),
    apps.optionsText(app),
    releases.get(app, live),
  ]);
  const now = apps.openEnv(app, sealed);
  const env = goneBack({
    now,
    leaving: apps.openEnv(app, leavingSealed),
    target: apps.openEnv(app, targetSealed),
  });
  const names = new Set([...Object.keys(now), ...Object.keys(env.result)]);
  const changed = [...names].filter((name) => now[name] !== env.result[name]);

  const options = goneBack<unknown>({
    now: { ...readAppOptions(optionsText) },
    leaving: { ...(leaving?.options ?? target) },
    target: { ...target },
  });
  const merged = readAppOptions(JSON.stringify(options.result));
  const wanted: AppOptions = problemWithAppOptions(merged) === undefined ? merged : target;
  return {
    back: {
      env: changed.map((name) => ({
        name,
        from: sealed[name] ?? '',
        to: env.result[name] === undefined ? '' : (targetSealed[name] ?? ''),
      })),
      options: { from: optionsText, to: JSON.stringify(wanted) },
    },
    waiting: [...env.waiting, ...options.waiting],
  };
}
