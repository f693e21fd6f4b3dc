import type { Problem } from '../domain/deployment.ts';
import { type ImageReference, parseImageReference, showImage } from '../domain/image-reference.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import { safeText } from '../domain/safe-text.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import type { Attempt } from './attempt.ts';
import { seconds } from './deploy-log.ts';
import { timed } from './timed.ts';

/**
 * Uploads the image that was just built as `<registry>/<app>:<commit>` where the server or the app has a registry, and
 * remembers its digest. Nothing of Gantry's own needs it there: it is for others, and for other machines.
 */
export async function publishImage(attempt: Attempt, image: string): Promise<Problem | undefined> {
  const { deployment, log, tools, signal } = attempt;
  const { app, commit, options } = deployment;
  const registry = options.registry ?? tools.registry;
  if (registry === undefined || registry === 'none') return undefined;
  const reference = parseImageReference(`${registry}/${app}:${commit}`);
  if ('problem' in reference) return { reason: `${registry} is no place for images: ${reference.problem}` };

  const name = showImage(reference);
  await log.heading(`Publishing ${name}`);
  const began = performance.now();
  const credentials = await loginFor(attempt, registry, reference);
  const deadline = timeoutSignal(tools.limits.buildTimeoutMs);
  attempt.guard();
  const published = await timed(attempt, 'publish', () =>
    tools.engine.publishImage(
      { image, reference, ...(credentials && { credentials }) },
      AbortSignal.any([signal, deadline]),
    ),
  ).catch((error: unknown) => {
    signal.throwIfAborted();
    if (!deadline.aborted) throw error;
    return { ok: false, reason: `timed out after ${seconds(tools.limits.buildTimeoutMs)}` } as const;
  });
  if (!published.ok)
    return {
      reason: safeText(`cannot publish ${name}: ${published.reason}`, 200),
      hints: [`deploy without: gantry apps set ${app} --registry none`],
    };
  await log.detail(published.digest);
  await log.detail(`done in ${seconds(performance.now() - began)}`);
  await tools.recordPublished(attempt, `${name}@${published.digest}`);
  return undefined;
}

/** The server's own login goes to the server's own place only, whatever an app asks for. */
async function loginFor(
  { settings, tools }: Attempt,
  registry: string,
  { host }: ImageReference,
): Promise<RegistryLogin | undefined> {
  const login = registry === tools.registry ? await tools.registryLogin() : undefined;
  if (login) return { host, ...login };
  const { host: other, username, password } = settings.registry ?? {};
  return other === host && username !== undefined && password !== undefined
    ? { host, username, password }
    : undefined;
}
