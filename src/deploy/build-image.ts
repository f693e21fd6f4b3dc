import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuildResult, LocalImage } from '../docker/engine.ts';
import { labels } from '../domain/container.ts';
import type { Problem } from '../domain/deployment.ts';
import { showImageSource } from '../domain/image-reference.ts';
import { buildEnv } from '../domain/injected-env.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import { safeText } from '../domain/safe-text.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import { type Attempt, injectedFacts } from './attempt.ts';
import type { Checkout } from './check-out.ts';
import { seconds } from './deploy-log.ts';
import { findAppFolder } from './find-app-folder.ts';
import { findDockerfile } from './find-dockerfile.ts';
import { missingCommand } from './missing-command.ts';
import { outliveEngine } from './outlive-engine.ts';

const lastLinesKept = 20;

/** Builds the checkout into an image, tagged and labelled with app, release and commit. */
export async function buildImage(
  attempt: Attempt,
  checkout: Checkout,
  credentials: RegistryLogin | undefined,
): Promise<{ image: LocalImage } | { problem: Problem }> {
  const { deployment, settings, log, mask, tools, signal } = attempt;
  const folder = await findAppFolder(checkout.dir, settings.appFolder);
  if ('problem' in folder) return folder;
  const dockerfile = await findDockerfile(folder.dir, settings.dockerfile);
  if ('problem' in dockerfile) return dockerfile;

  const text = await readFile(join(folder.dir, dockerfile.path), 'utf8');
  const commandless = settings.runCommand === undefined && (await missingCommand(text, tools.engine));
  if (commandless) return { problem: commandless };

  const began = performance.now();
  const file = safeText(settings.dockerfile, 100);
  await log.heading(
    settings.builder === 'buildkit' ? `Building ${file}` : `Building ${file} with the legacy builder`,
  );

  const lastLines: string[] = [];
  const deadline = timeoutSignal(tools.limits.buildTimeoutMs);
  const variables = buildVariables(attempt);
  attempt.guard();
  const name = imageTag(attempt);
  const build = (): Promise<BuildResult> =>
    tools.engine.buildImage(
      {
        contextDir: folder.dir,
        dockerfile: dockerfile.path,
        builder: settings.builder,
        buildArgs: variables,
        secrets: variables,
        ...(credentials && { credentials }),
        labels: objectLabels(attempt),
        tag: name,
        noCache: deployment.noCache,
      },
      async (event) => {
        if (event.kind === 'warning') return log.warning(safeText(event.text, 300));
        if (event.kind === 'output') {
          lastLines.push(event.text);
          if (lastLines.length > lastLinesKept) lastLines.shift();
        }
        return log.output(event.text);
      },
      AbortSignal.any([signal, deadline]),
    );
  const result: BuildResult = await outliveEngine(attempt, 'build', deadline, build).catch(
    (error: unknown): BuildResult => {
      signal.throwIfAborted();
      if (deadline.aborted)
        return { ok: false, reason: `timed out after ${seconds(tools.limits.buildTimeoutMs)}` };
      throw error;
    },
  );
  if (!result.ok) {
    // BuildKit quotes commands with the values of their arguments.
    const failed = result.command
      ? [`${safeText(mask(result.command), 200)}${exitText(result.exitCode)}`]
      : [];
    return { problem: { reason: safeText(mask(result.reason), 150), details: failed, lastLines } };
  }
  if (result.steps > 0 && result.cachedSteps === result.steps)
    await log.detail(`${result.steps} of ${result.steps} steps cached`);
  await log.detail(
    `done in ${seconds(performance.now() - began)}, image ${Math.max(1, Math.round(result.image.bytes / 1e6))} MB`,
  );
  return { image: { ...result.image, name } };
}

/** The image of an earlier release under the name of this one, so that it is kept as long as this one is. */
export async function reuseImage(
  attempt: Attempt,
  earlier: string,
): Promise<{ image: LocalImage } | { problem: Problem }> {
  attempt.guard();
  const name = imageTag(attempt);
  const isTagged = await attempt.tools.engine.tagImage(earlier, name);
  const image = isTagged ? await findImage(attempt, name) : undefined;
  return image ? { image } : { problem: imageIsGone(attempt) };
}

export async function findImage({ tools }: Attempt, name: string): Promise<LocalImage | undefined> {
  const facts = await tools.engine.inspectImage(name);
  return facts && { ...facts, name };
}

export function imageIsGone({ deployment }: Attempt): Problem {
  const { rollbackTo } = deployment;
  const isPulled = deployment.pull !== undefined;
  return rollbackTo === undefined
    ? {
        reason: 'its image is gone from the engine',
        hints: [`${isPulled ? 'pull' : 'build'} it again: gantry redeploy`],
      }
    : {
        reason: `the image of v${rollbackTo} is gone from the engine`,
        hints: [`${isPulled ? 'pull it' : 'build its commit'} again: gantry deploys retry ${rollbackTo}`],
      };
}

/** The name of the image this deployment makes. */
export function imageTag({ deployment, tools }: Attempt): string {
  const { app, number, commit, pull } = deployment;
  const version = pull ? (pull.digest ?? '').replace('sha256:', '') : commit;
  return `gantry-${tools.storeTag}/${app}:v${number}-${version.slice(0, 7)}`;
}

export function objectLabels({ deployment, tools }: Attempt): Record<string, string> {
  const { app, number, commit, pull } = deployment;
  return {
    [labels.store]: tools.storeId,
    [labels.app]: app,
    [labels.release]: String(number),
    ...(pull ? { [labels.image]: showImageSource(pull) } : { [labels.commit]: commit }),
  };
}

function buildVariables(attempt: Attempt): Record<string, string> {
  return { ...buildEnv(injectedFacts(attempt)), ...attempt.appEnv };
}

function exitText(exitCode: number | undefined): string {
  if (exitCode === undefined) return '';
  return exitCode === 137 ? ' was killed, perhaps out of memory' : ` exited with code ${exitCode}`;
}
