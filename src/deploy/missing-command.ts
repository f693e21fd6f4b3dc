import type { Engine } from '../docker/engine.ts';
import type { Problem } from '../domain/deployment.ts';
import { imageToBringCommand } from '../domain/dockerfile.ts';
import { safeText } from '../domain/safe-text.ts';

/** A result that nothing could be started with, found before minutes are spent on building it. */
export async function missingCommand(dockerfile: string, engine: Engine): Promise<Problem | undefined> {
  const base = imageToBringCommand(dockerfile);
  if (base === undefined) return undefined;
  const hints = ['add CMD or ENTRYPOINT to the Dockerfile'];
  if (base === 'scratch') return { reason: 'the image would have no command to start', hints };
  const found = await engine.inspectImage(base).catch(() => undefined);
  // What is not here is pulled by the build; then the start tells.
  if (!found || found.hasCommand) return undefined;
  const reason = `the image would have no command to start: ${safeText(base, 80)} has none either`;
  return { reason, hints };
}
