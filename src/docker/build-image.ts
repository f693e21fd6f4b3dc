import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { hereDocumentLine } from '../domain/dockerfile.ts';
import { argumentWarnings } from './argument-warnings.ts';
import { selectBuildArgs } from './build-args.ts';
import { packContext } from './build-context.ts';
import { explainFailure } from './build-failure.ts';
import type { BuildOutput } from './build-output.ts';
import { openBuildSession } from './build-session.ts';
import { BuildkitOutput } from './buildkit-output.ts';
import type { BuildEvent, BuildRequest, BuildResult } from './engine.ts';
import type { EngineClient } from './engine-client.ts';
import { refusalOf } from './engine-refusal.ts';
import { imageFacts } from './image-facts.ts';
import { LegacyOutput } from './legacy-output.ts';
import { readMessages } from './ndjson.ts';
import { registryConfig } from './registry-access.ts';

/** Cutting the connection is what ends a build on the engine: its RUN is killed within milliseconds. */
export async function buildImage(
  client: EngineClient,
  request: BuildRequest,
  report: (event: BuildEvent) => Promise<void>,
  signal: AbortSignal,
): Promise<BuildResult> {
  signal.throwIfAborted();
  const dockerfile = await readFile(join(request.contextDir, request.dockerfile), 'utf8');
  const selection = selectBuildArgs(request.buildArgs, dockerfile);
  if (!selection.ok) return selection;
  const hereDocument = request.builder === 'legacy' ? hereDocumentLine(dockerfile) : undefined;
  if (hereDocument !== undefined) {
    return {
      ok: false,
      reason: `line ${hereDocument} of the Dockerfile has a here-document, which the legacy builder cannot run`,
    };
  }

  for (const text of argumentWarnings(dockerfile)) await report({ kind: 'warning', text });

  const { secrets = {}, credentials } = request;
  using session =
    request.builder === 'buildkit' ? openBuildSession(client, { secrets, credentials }) : undefined;
  const context = await packContext(request.contextDir, request.dockerfile);
  if (!context.ok) return context;

  const output =
    request.builder === 'buildkit'
      ? new BuildkitOutput()
      : new LegacyOutput({ hasLabelStep: Object.keys(request.labels).length > 0 });
  const query = { ...buildQuery(request, selection.buildArgs), ...(session && { session: session.id }) };
  const headers = request.builder === 'legacy' && credentials ? registryConfig(credentials) : {};
  const sent = await send(client, { query, headers, context: context.tar, output, report, signal });
  if (!sent.ok) return explainFailure({ message: sent.refusal }, dockerfile);

  const { failure, imageId, steps, cachedSteps } = output.summary();
  if (failure !== undefined) {
    const unopened = session?.failure();
    if (unopened !== undefined && failure.message.includes('no active session')) throw unopened;
    return explainFailure(failure, dockerfile);
  }
  for (const name of session?.missing ?? []) {
    await report({
      kind: 'warning',
      text: `the Dockerfile asks for the secret ${name}, which is no variable of the app`,
    });
  }
  if (imageId === undefined) return { ok: false, reason: 'the engine ended the build without an image' };
  const built = await client.call('reading the built image', (docker) => docker.getImage(imageId).inspect());
  return { ok: true, image: imageFacts(built), steps, cachedSteps };
}

type Transfer = {
  query: Record<string, string>;
  headers: Record<string, string>;
  context: Readable;
  output: BuildOutput;
  report: (event: BuildEvent) => Promise<void>;
  signal: AbortSignal;
};

/** Sends the context and reads the answer to its end. A refusal is one the engine gives before it begins. */
async function send(
  client: EngineClient,
  { query, headers, context, output, report, signal }: Transfer,
): Promise<{ ok: true } | { ok: false; refusal: string }> {
  let contextError: unknown;
  context.on('error', (error) => {
    contextError ??= error;
  });
  let answer: IncomingMessage | undefined;
  try {
    answer = await client.dial('building an image', {
      method: 'POST',
      path: '/build?',
      query,
      headers,
      body: context,
      signal,
    });
    for await (const message of readMessages(answer)) {
      for (const event of output.read(message)) await report(event);
    }
    for (const event of output.end()) await report(event);
    return { ok: true };
  } catch (error) {
    signal.throwIfAborted();
    if (contextError !== undefined) {
      throw new Error('could not read the files to build', { cause: contextError });
    }
    const refusal = refusalOf(error);
    if (refusal === undefined) throw client.explained(error, 'building an image');
    return { ok: false, refusal: refusal.message };
  } finally {
    answer?.destroy();
    discard(context);
  }
}

function buildQuery(request: BuildRequest, buildArgs: Record<string, string>): Record<string, string> {
  return {
    t: request.tag,
    dockerfile: request.dockerfile,
    labels: JSON.stringify(request.labels),
    buildargs: JSON.stringify(buildArgs),
    rm: '1',
    // A failed RUN of the legacy builder leaves its container behind otherwise.
    forcerm: '1',
    ...(request.noCache ? { nocache: '1' } : {}),
    ...(request.builder === 'buildkit' ? { version: '2' } : {}),
  };
}

/** Piping does not destroy the source when the request ends early: open files would stay open. */
function discard(context: Readable): void {
  context.unpipe();
  context.destroy();
}
