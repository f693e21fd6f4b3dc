import type { z } from 'zod';
import type { bindingsShape, serviceDetailShape, serviceShape, servicesShape } from '../api/contract.ts';
import { call, collect, request } from './api-client.ts';
import { readValue } from './env.ts';
import { UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

type Credentials = Record<string, unknown>;

export async function listServices({ app, json }: { app?: string; json?: boolean }): Promise<void> {
  if (app !== undefined) return listBindings(app, json);
  const services = await collect<typeof servicesShape, 'services'>('/services', 'services');
  if (json) return printJson(services);
  if (services.length === 0)
    return console.error(
      'no services; one that runs elsewhere: gantry services create NAME --credentials @file.json',
    );
  printTable(
    ['SERVICE', 'KIND', 'BOUND TO', 'SHARED'],
    services.map(({ name, label, apps, shared }) => [name, label, apps.join(', '), shared ? 'yes' : '']),
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

export async function createService(
  name: string,
  options: { credentials: string; tag?: string[]; shared?: boolean; json?: boolean },
): Promise<void> {
  const made = await call<typeof serviceShape>('POST', '/services', {
    name,
    credentials: await readCredentials(options.credentials),
    tags: options.tag ?? [],
    shared: options.shared ?? false,
  });
  if (options.json) return printJson(made);
  console.error(`${name} is there; give it to an app: gantry bind APP ${name}`);
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
  const { name, id, label, tags, shared, apps, createdAt, createdBy, credentials, credentialNames } = service;
  return [
    ['name', name],
    ['kind', label],
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

export async function updateService(
  name: string,
  options: { credentials?: string; tag?: string[]; shared?: boolean; json?: boolean },
): Promise<void> {
  const { credentials, tag, shared } = options;
  if (credentials === undefined && tag === undefined && shared === undefined)
    throw new UsageError('what is to change? --credentials, --tag, --shared or --no-shared');
  const changed = await call<typeof serviceDetailShape>('PATCH', pathOf(name), {
    ...(credentials !== undefined && { credentials: await readCredentials(credentials) }),
    ...(tag && { tags: tag }),
    ...(shared !== undefined && { shared }),
  });
  if (options.json) return printJson(changed);
  const apps = changed.apps.map((app) => `gantry restart --app ${app}`);
  console.error(
    apps.length === 0
      ? `${name} is changed`
      : `${name} is changed; the apps see it with their next deployment: ${apps.join('; ')}`,
  );
}

export async function deleteService(name: string): Promise<void> {
  await request('DELETE', pathOf(name));
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
