import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream as NodeReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import type { z } from 'zod';
import type {
  begunCopyShape,
  bindingsShape,
  serviceDetailShape,
  serviceShape,
  servicesShape,
} from '../api/contract/services.ts';
import { showMemory } from '../domain/app-options.ts';
import { showBytes } from '../domain/bytes.ts';
import { safeText } from '../domain/safe-text.ts';
import { ask, call, collect, findServer, readPatiently, request } from './api-client.ts';
import { confirmName, isThere } from './delete-app.ts';
import { readPairs, readValue } from './env.ts';
import { UsageError } from './exit-code.ts';
import { readMemory } from './options.ts';
import { printJson, printTable } from './print.ts';
import { writeWhole } from './write-whole.ts';

type Credentials = Record<string, unknown>;

export async function listServices({ app, json }: { app?: string; json?: boolean }): Promise<void> {
  if (app !== undefined) return listBindings(app, json);
  const services = await collect<typeof servicesShape, 'services'>('/services', 'services');
  if (json) return printJson(services);
  if (services.length === 0)
    return console.error('no services; make one: gantry services create db --template postgresql');
  printTable(
    ['SERVICE', 'KIND', 'STATE', 'BOUND TO', 'SHARED'],
    services.map(({ name, label, state, apps, shared }) => [
      name,
      label,
      state,
      apps.join(', '),
      shared ? 'yes' : '',
    ]),
  );
}

async function listBindings(app: string, json = false): Promise<void> {
  const { services } = await call<typeof bindingsShape>('GET', `/apps/${encodeURIComponent(app)}/services`);
  if (json) return printJson(services);
  if (services.length === 0)
    return console.error(`${app} has no services; gantry services lists what it can have`);
  printTable(
    ['SERVICE', 'KIND', 'BOUND', 'BY'],
    services.map(({ service, label, boundAt, boundBy }) => [service, label, boundAt, boundBy]),
  );
}

type NewService = {
  credentials?: string;
  template?: string;
  image?: string;
  port?: string;
  path?: string;
  command?: string;
  env?: string[];
  memory?: string;
  tag?: string[];
  shared?: boolean;
  detach?: boolean;
  json?: boolean;
};

/** One that is to run here is waited for. */
export async function createService(name: string, options: NewService): Promise<void> {
  const { credentials, template, image, port, path, command, env, memory } = options;
  const began = performance.now();
  const made = await call<typeof serviceShape>('POST', '/services', {
    name,
    ...(credentials !== undefined && { credentials: await readCredentials(credentials) }),
    ...(template !== undefined && { template }),
    ...(image !== undefined && { image }),
    ...(port !== undefined && { port: Number(port) }),
    ...(path !== undefined && { path }),
    ...(command !== undefined && { command }),
    ...(env && { env: await readPairs(env) }),
    ...(memory !== undefined && { memory: readMemory(memory) }),
    tags: options.tag ?? [],
    shared: options.shared ?? false,
  });
  if (made.managed) console.error(`${name} starts: ${made.managed.image}, ${made.label}`);
  const ready = made.managed && !options.detach ? await awaitReady(name) : made;
  if (options.json) return printJson(ready);
  if (ready.state !== 'ready') return;
  const took = made.managed ? ` (${((performance.now() - began) / 1000).toFixed(1)}s)` : '';
  console.error(`${name} is there${took}; give it to an app: gantry bind APP ${name}`);
}

async function awaitReady(name: string): Promise<z.infer<typeof serviceDetailShape>> {
  for (;;) {
    const service = await readPatiently<typeof serviceDetailShape>(pathOf(name));
    if (service.state === 'ready') return service;
    if (service.state !== 'starting')
      throw new Error(`${name} does not run: ${safeText(service.reason ?? service.state, 500)}`);
    await sleep(250);
  }
}

export async function showService(
  name: string,
  options: { credentials?: boolean; json?: boolean },
): Promise<void> {
  const query = options.credentials ? '?credentials=true' : '';
  const service = await call<typeof serviceDetailShape>('GET', `${pathOf(name)}${query}`);
  if (options.json) return printJson(service);
  printTable(['', ''], rowsOf(service));
}

function rowsOf(service: z.infer<typeof serviceDetailShape>): string[][] {
  const { name, id, label, tags, shared, apps, managed } = service;
  const { createdAt, createdBy, credentials, credentialNames } = service;
  return [
    ['name', name],
    ['kind', label],
    ['state', service.reason === null ? service.state : `${service.state}: ${service.reason}`],
    ...(managed
      ? [
          ['image', managed.image],
          ['volume', managed.path],
          ['memory', managed.memory === null ? 'default' : showMemory(managed.memory)],
        ]
      : []),
    ['id', id],
    ['tags', tags.join(', ')],
    ['shared', shared ? 'yes: who may deploy an app may bind it' : 'no: administrators bind it'],
    ['bound to', apps.join(', ')],
    ['created', `${createdAt} by ${createdBy}`],
    ...credentialNames.map((key) => [
      `credentials.${key}`,
      credentials === null ? '(hidden; --credentials shows it)' : showValue(credentials[key]),
    ]),
  ];
}

function showValue(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

type ServiceChange = {
  credentials?: string;
  image?: string;
  memory?: string;
  tag?: string[];
  shared?: boolean;
  json?: boolean;
};

export async function updateService(name: string, options: ServiceChange): Promise<void> {
  const { credentials, image, memory, tag, shared } = options;
  const change = {
    ...(credentials !== undefined && { credentials: await readCredentials(credentials) }),
    ...(image !== undefined && { image }),
    ...(memory !== undefined && { memory: readMemory(memory) }),
    ...(tag && { tags: tag }),
    ...(shared !== undefined && { shared }),
  };
  if (Object.keys(change).length === 0)
    throw new UsageError(
      'what is to change? --credentials, --image, --memory, --tag, --shared or --no-shared',
    );
  const changed = await call<typeof serviceDetailShape>('PATCH', pathOf(name), change);
  const ready = changed.state === 'starting' ? await awaitReady(name) : changed;
  if (options.json) return printJson(ready);
  const apps = credentials === undefined ? [] : changed.apps.map((app) => `gantry restart --app ${app}`);
  console.error(
    apps.length === 0
      ? `${name} is changed`
      : `${name} is changed; the apps see it with their next deployment: ${apps.join('; ')}`,
  );
}

/** Ends when nothing is left of it. */
export async function deleteService(
  name: string,
  { confirm, deleteData = false }: { confirm?: string; deleteData?: boolean },
): Promise<void> {
  const { managed } = await call<typeof serviceDetailShape>('GET', pathOf(name));
  if (managed && deleteData)
    await confirmName(name, `deletes the service ${name} and its data for good`, confirm);
  await request('DELETE', `${pathOf(name)}?deleteData=${deleteData}`);
  while (await isThere(pathOf(name))) await sleep(250);
  console.error(`${name} is deleted`);
}

export async function bindService(app: string, service: string): Promise<void> {
  await call<typeof bindingsShape>('PUT', bindingPath(app, service));
  console.error(`${app} has ${service} with its next deployment: gantry restart --app ${app}`);
}

export async function unbindService(app: string, service: string): Promise<void> {
  await call<typeof bindingsShape>('DELETE', bindingPath(app, service));
  console.error(
    `${app} has ${service} no more from its next deployment on: gantry restart --app ${app}. Nothing of the service is lost`,
  );
}

/** Everything in its volume, as a tar. */
export async function backUpService(name: string, file: string): Promise<void> {
  const { id } = await call<typeof begunCopyShape>('POST', `${pathOf(name)}/backups`);
  console.error(`${name} is stopped until its data are copied`);
  await awaitCopied(name, id);
  const { body } = await request('GET', `${pathOf(name)}/backups/${id}`);
  if (!body) throw new Error('the backup came without anything in it');
  const tar = Readable.fromWeb(body as NodeReadableStream);
  if (file === '-') return pipeline(tar, process.stdout);
  // What is there under that name stays until all of it is here.
  await writeWhole(tar, file);
  console.error(`${name} runs again; its backup is ${file}, ${showBytes((await stat(file)).size)}`);
}

/** Its data become those of the backup, once it has started with them. */
export async function restoreService(
  name: string,
  file: string,
  { confirm }: { confirm?: string },
): Promise<void> {
  await call<typeof serviceDetailShape>('GET', pathOf(name));
  const content = file === '-' ? (Readable.toWeb(process.stdin) as ReadableStream) : await openAsBlob(file);
  await confirmName(name, `replaces the data of ${name} by those of the backup`, confirm);
  const upload = { type: 'application/x-tar', content };
  const response = await ask(await findServer(), 'PUT', `${pathOf(name)}/data`, { upload });
  const { id } = (await response.json()) as z.infer<typeof begunCopyShape>;
  await awaitCopied(name, id);
  console.error(`${name} has the data of the backup`);
}

async function awaitCopied(name: string, id: string): Promise<void> {
  for (;;) {
    const { copy } = await readPatiently<typeof serviceDetailShape>(pathOf(name));
    if (copy?.id !== id) throw new Error(`another copy of ${name} was begun meanwhile`);
    if (copy.state === 'done') return;
    if (copy.state === 'failed')
      throw new Error(`the ${copy.kind} of ${name} failed: ${safeText(copy.reason ?? '', 500)}`);
    await sleep(250);
  }
}

/** What is wrong with it is said without a part of it. */
async function readCredentials(given: string): Promise<Credentials> {
  const example =
    'an object such as {"uri":"postgres://user:password@host/db"}, @file or - for standard input';
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readValue(given));
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(`the credentials are not JSON; give ${example}`);
    throw error;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new UsageError(`the credentials are not a JSON object; give ${example}`);
  return parsed as Credentials;
}

function pathOf(service: string): string {
  return `/services/${encodeURIComponent(service)}`;
}

function bindingPath(app: string, service: string): string {
  return `/apps/${encodeURIComponent(app)}${pathOf(service)}`;
}
