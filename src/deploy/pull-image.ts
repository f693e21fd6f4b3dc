import type { ImageFacts, LocalImage, PullProgress, PullResult } from '../docker/engine.ts';
import type { Problem } from '../domain/deployment.ts';
import { portOfImage } from '../domain/image-port.ts';
import { type ImageReference, parseImageReference } from '../domain/image-reference.ts';
import type { RegistryLogin } from '../domain/registry-login.ts';
import { safeText } from '../domain/safe-text.ts';
import { timeoutSignal } from '../timeout-signal.ts';
import type { Attempt } from './attempt.ts';
import { findImage, imageTag } from './build-image.ts';
import { seconds } from './deploy-log.ts';
import { outliveEngine } from './outlive-engine.ts';

const sayHowFarEveryMs = 3000;

/**
 * Looks up which digest the reference means, then downloads that, which from here on is what is deployed. It is kept
 * under the name of the release as a built image is, so that nothing later needs the registry.
 */
export async function pullImage(
  attempt: Attempt,
): Promise<{ image: LocalImage; attempt: Attempt } | { problem: Problem }> {
  const { deployment, log, tools, signal } = attempt;
  const { app, number, pull: source } = deployment;
  if (!source) throw new Error('there is no image to pull');
  const reference = parseImageReference(source.reference);
  if ('problem' in reference) throw new Error(`${source.reference}: ${reference.problem}`);

  const began = performance.now();
  await log.heading(`Pulling ${source.reference}`);
  await warnOfHooks(attempt);
  const credentials = await loginFor(attempt, reference);
  if (credentials) await log.detail(`as ${safeText(credentials.username)}`);
  const refused = (result: Extract<PullResult, { ok: false }>): { problem: Problem } => ({
    problem: {
      reason: safeText(`cannot pull ${source.reference}: ${result.reason}`, 200),
      hints: result.wantsLogin
        ? [`gantry deploy ${app} --image ${source.reference} --username NAME  asks for the password`]
        : [],
    },
  });

  let digest = source.digest ?? reference.digest;
  if (digest === undefined) {
    const resolved = await tools.engine.resolveImage(reference, credentials, signal);
    if (!resolved.ok) return refused(resolved);
    ({ digest } = resolved);
  }
  attempt.guard();
  await tools.recordDigest(attempt, digest);
  await log.detail(digest);
  const pinned: Attempt = { ...attempt, deployment: { ...deployment, pull: { ...source, digest } } };

  const name = imageTag(pinned);
  const request = { reference: { ...reference, digest }, tag: name, ...(credentials && { credentials }) };
  const progress = new HowFar(attempt);
  const deadline = timeoutSignal(tools.limits.buildTimeoutMs);
  const limit = AbortSignal.any([signal, deadline]);
  const pull = (): Promise<PullResult> => tools.engine.pullImage(request, (how) => progress.note(how), limit);
  const pulled: PullResult = await outliveEngine(attempt, 'download', deadline, pull).catch(
    (error: unknown): PullResult => {
      signal.throwIfAborted();
      if (deadline.aborted)
        return { ok: false, reason: `timed out after ${seconds(tools.limits.buildTimeoutMs)}` };
      throw error;
    },
  );
  await progress.told();
  if (!pulled.ok) return refused(pulled);

  const image = await findImage(attempt, name);
  if (!image) throw new Error(`the image of v${number} was removed by somebody else`);
  const problem = problemWithImage(image, attempt, await tools.engine.architecture());
  if (problem) {
    await tools.engine.removeImage(name);
    return { problem };
  }
  await log.detail(
    `done in ${seconds(performance.now() - began)}, image ${Math.max(1, Math.round(image.bytes / 1e6))} MB, ${image.layers} ${image.layers === 1 ? 'layer' : 'layers'}`,
  );
  return { image, attempt: pinned };
}

/** The port an image is reached at is the image's to say, unless somebody else did. */
export function withPortOf(
  attempt: Attempt,
  { exposedPorts }: ImageFacts,
): { attempt: Attempt } | { problem: Problem } {
  const { settings } = attempt;
  if (settings.isPortGiven) return { attempt };
  const port = portOfImage(exposedPorts);
  if (port === 'none') return { attempt };
  if (port === 'only udp') {
    const sorted = [...exposedPorts].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
    return {
      problem: {
        reason: `the image exposes only UDP ports (${sorted.slice(0, 5).join(', ')}), and visitors come by TCP`,
        hints: ['name the TCP port it listens on: --port PORT'],
      },
    };
  }
  return { attempt: { ...attempt, settings: { ...settings, port } } };
}

function problemWithImage(facts: ImageFacts, { settings }: Attempt, machine: string): Problem | undefined {
  const { architecture, layers, hasCommand } = facts;
  if (layers === 0) return { reason: 'the image has no layers: there is nothing in it that could run' };
  if (architecture !== '' && !runsOn(architecture, machine))
    return {
      reason: `the image is for ${safeText(architecture, 40)}, and this server is ${machine}`,
      hints: [`build it for this server too: docker buildx build --platform linux/${machine}`],
    };
  if (!hasCommand && settings.runCommand === undefined)
    return {
      reason: 'the image has no command to start',
      hints: ['say which: --command COMMAND, or CMD in its Dockerfile'],
    };
  return undefined;
}

function runsOn(architecture: string, machine: string): boolean {
  const also: Record<string, string[]> = { amd64: ['386'], arm64: ['arm'] };
  return architecture === machine || (also[machine] ?? []).includes(architecture);
}

/** The one that was given with an image from there; else the one for base images, should it be for there. */
async function loginFor(
  { deployment, settings, tools }: Attempt,
  { host }: ImageReference,
): Promise<RegistryLogin | undefined> {
  const given = await tools.imageLogin(deployment.app, host);
  if (given) return given;
  const { host: other, username, password } = settings.registry ?? {};
  return other === host && username !== undefined && password !== undefined
    ? { host, username, password }
    : undefined;
}

async function warnOfHooks({ settings, log }: Attempt): Promise<void> {
  const { preBuild, postBuild, preRun, runFailed } = settings.hooks;
  const given = Object.entries({
    CC_PRE_BUILD_HOOK: preBuild,
    CC_POST_BUILD_HOOK: postBuild,
    CC_PRE_RUN_HOOK: preRun,
    CC_RUN_FAILED_HOOK: runFailed,
  })
    .filter(([, command]) => command !== undefined)
    .map(([name]) => name);
  if (given.length > 0)
    await log.warning(`not run, since an image has no repository to run them in: ${given.join(', ')}`);
}

/** Says how far a download is, now and then. */
class HowFar {
  readonly #attempt: Attempt;
  #saidAt = performance.now();
  #saidRetrying = false;
  #said = '';
  #saying: Promise<void> = Promise.resolve();

  constructor(attempt: Attempt) {
    this.#attempt = attempt;
  }

  note({ layers, layersDone, bytes, bytesInAll, isRetrying }: PullProgress): void {
    if (isRetrying && !this.#saidRetrying) {
      this.#saidRetrying = true;
      this.#say('the registry broke a download off; it is tried again, for about a minute at most');
    }
    if (performance.now() - this.#saidAt < sayHowFarEveryMs) return;
    this.#saidAt = performance.now();
    const megabytes = (count: number): number => Math.round(count / 1e6);
    const text = `${layersDone} of ${layers} layers, ${megabytes(bytes)} of ${megabytes(bytesInAll)} MB`;
    if (text !== this.#said) this.#say(text);
    this.#said = text;
  }

  #say(text: string): void {
    this.#saying = this.#saying.then(() => this.#attempt.log.detail(text));
  }

  async told(): Promise<void> {
    await this.#saying;
  }
}
