import { open } from 'node:fs/promises';
import { parse } from 'yaml';
import type { z } from 'zod';
import type { envShape } from '../api/contract/apps.ts';
import type { acceptedShape } from '../api/contract/deployments.ts';
import type { appOptionsShape } from '../api/contract/options.ts';
import { type ManifestApp, readManifest } from '../domain/cf-manifest.ts';
import { safeText } from '../domain/safe-text.ts';
import { messageOf } from '../errors.ts';
import { appName, call } from './api-client.ts';
import { followDeploy } from './deploy-again.ts';
import { readPassword } from './deploy-image.ts';
import { ApiError, UsageError } from './exit-code.ts';

type Options = { file: string; var?: string[]; varsFile?: string[] };

const largestFile = 1024 ** 2;
/** An alias that stands for aliases grows without end. */
const mostAliases = 100;

/**
 * Deploys the apps of a Cloud Foundry manifest one after the other, or the one that is named, up to the first that
 * fails. Nothing is done when anything of the manifest is wrong.
 */
export async function push(only: string | undefined, options: Options): Promise<void> {
  const variables: Record<string, unknown> = {};
  for (const file of options.varsFile ?? []) {
    const values = await readYaml(file);
    if (typeof values !== 'object' || values === null || Array.isArray(values))
      throw new UsageError(`${file} is not made of names and values`);
    Object.assign(variables, values);
  }
  for (const pair of options.var ?? []) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new UsageError(`"${safeText(pair)}" is not name=value`);
    variables[pair.slice(0, equals)] = pair.slice(equals + 1);
  }
  const manifest = readManifest(await readYaml(options.file), variables);
  if ('problem' in manifest) throw new UsageError(`${options.file}: ${safeText(manifest.problem, 300)}`);
  const apps = manifest.apps.filter(({ name }) => only === undefined || name === only);
  if (apps.length === 0) throw new UsageError(`${options.file} has no application ${only}`);
  for (const note of [...manifest.notes, ...apps.flatMap(({ notes }) => notes)])
    console.error(`warning: ${safeText(note, 300)}`);

  const usernames = new Set(apps.flatMap(({ username }) => username ?? []));
  const password = usernames.size === 0 ? undefined : await readPassword([...usernames].join(' and '));
  for (const app of apps) {
    await deployApp(app, password);
    if (process.exitCode) return;
  }
}

async function deployApp(app: ManifestApp, password: string | undefined): Promise<void> {
  const path = `/apps/${await appName(app.name)}`;
  const { memory, instances, ...serving } = app.options;
  await makeUnlessThere(app.name, path);
  const size = { ...(memory !== undefined && { memory }), ...(instances !== undefined && { instances }) };
  if (Object.keys(size).length > 0) await call<typeof appOptionsShape>('PATCH', `${path}/options`, size);
  if (Object.keys(app.env).length > 0) await call<typeof envShape>('PATCH', `${path}/env`, { env: app.env });
  for (const domain of app.domains) await call('POST', `${path}/domains`, { domain });
  for (const service of app.services) await call('PUT', `${path}/services/${service}`);
  const { number }: z.infer<typeof acceptedShape> = await call<typeof acceptedShape>(
    'POST',
    `${path}/deployments`,
    {
      kind: 'image',
      image: app.image,
      ...serving,
      ...(app.username !== undefined && { login: { username: app.username, password } }),
    },
  );
  await followDeploy(encodeURIComponent(app.name), number, {});
}

async function makeUnlessThere(name: string, path: string): Promise<void> {
  try {
    await call<typeof appOptionsShape>('GET', `${path}/options`);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await call('POST', '/apps', { name });
  }
}

async function readYaml(file: string): Promise<unknown> {
  const text = await readText(file);
  try {
    return parse(text, { maxAliasCount: mostAliases, merge: true, logLevel: 'error' }) as unknown;
  } catch (error) {
    // Also a nesting so deep that the reader gives up.
    throw new UsageError(`${file} is no YAML: ${safeText(messageOf(error).split('\n')[0] ?? '', 200)}`);
  }
}

async function readText(file: string): Promise<string> {
  const handle = await open(file).catch((error: unknown) => {
    throw new UsageError(`${file} cannot be read: ${messageOf(error)}`);
  });
  try {
    const { size } = await handle.stat();
    if (size > largestFile) throw new UsageError(`${file} has ${size} bytes; a manifest has at most 1 MiB`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}
