import type { AppName } from '../domain/app.ts';
import { labels } from '../domain/container.ts';
import type { Owned } from './attempt.ts';

/** A router that is away for longer has nobody to send to the app, either. */
const noticeAfterMs = 5000;
const drainGraceMs = 10_000;

/**
 * Carries out a stop that somebody asked for: visitors get the page that says so, requests in flight are finished as in a
 * swap, then every container of a release goes. Tasks run to their end. Returns whether there was one; fine to repeat.
 */
export async function stopApp({ guard, tools }: Owned, app: AppName): Promise<boolean> {
  const { engine, limits } = tools;
  const version = await tools.stopRoute(app);
  if (version === undefined) return false;
  await tools.routeApplied(app, version, noticeAfterMs, new AbortController().signal);
  await tools.drained(app, limits.drainTimeoutMs + drainGraceMs);
  const containers = await engine.listContainers(`${labels.app}=${app}`);
  guard();
  await Promise.all(
    containers
      .filter((container) => container.labels[labels.store] === tools.storeId)
      .filter((container) => container.labels[labels.task] === undefined)
      .map(({ id }) => engine.stopAndRemove(id, limits.stopTimeoutMs)),
  );
  await tools.markStopped(app);
  return true;
}
