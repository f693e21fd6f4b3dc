import { type AppName, parseAppName, problemWithAppName } from './app.ts';
import { type HealthCheckType, healthCheckTypes, parseMemory } from './app-options.ts';
import { parseDomain } from './domain.ts';
import { problemWithEnvName } from './env.ts';
import { parseImageReference } from './image-reference.ts';
import { parseServiceName, type ServiceName, serviceNameRule } from './service.ts';

/** One app of a Cloud Foundry manifest, as far as it can be had here. What it does not say is left out and stays as it is. */
export type ManifestApp = {
  name: AppName;
  image: string;
  username?: string;
  env: Readonly<Record<string, string>>;
  options: {
    memory?: number;
    instances?: number;
    command?: string | null;
    healthCheck?: HealthCheckType;
    endpoint?: string;
    startTimeout?: number;
  };
  domains: readonly string[];
  /** Bound besides those it has. */
  services: readonly ServiceName[];
  /** What the manifest says about it that is not done, and why. */
  notes: readonly string[];
};

type Mapping = Record<string, unknown>;

/** Not done here; each with the reason, so that nothing of a manifest is silently ignored. */
const undone: Record<string, string> = {
  disk_quota: 'the disk of a container has no limit of its own',
  'disk-quota': 'the disk of a container has no limit of its own',
  'log-rate-limit-per-second': 'logs have no limit of their own',
  sidecars: 'a container runs one command',
  stack: 'the image is all there is in a container',
  lifecycle: 'an image is all that can be deployed by a manifest',
  metadata: 'an app has no labels and annotations',
  features: 'an app has no features that could be switched',
  'no-route': 'every app answers under its name',
  'random-route': 'every app answers under its name',
  'default-route': 'every app answers under its name',
  'health-check-interval': 'the router notices by itself when an app is away',
  'health-check-invocation-timeout': 'each answer may take five seconds',
  'readiness-health-check-type': 'an app is checked when it starts',
  'readiness-health-check-http-endpoint': 'an app is checked when it starts',
  'readiness-health-check-invocation-timeout': 'an app is checked when it starts',
  'readiness-health-check-interval': 'an app is checked when it starts',
};
const building = ['buildpack', 'buildpacks', 'path'];

/** What is wrong with a manifest: nothing of it is done then. */
class Wrong extends Error {}

/** All of it or nothing. Problems are sentences without a full stop. */
export function readManifest(
  document: unknown,
  variables: Readonly<Record<string, unknown>>,
): { apps: ManifestApp[]; notes: string[] } | { problem: string } {
  try {
    const root = mapping(fillIn(document, variables), 'a manifest');
    const { applications, version: _, ...rest } = root;
    if (!Array.isArray(applications) || applications.length === 0)
      throw new Wrong('a manifest has a list of applications');
    const apps = applications.map((app: unknown, index) => readApp(app, index));
    const twice = apps.find(({ name }, index) => apps.findIndex((other) => other.name === name) !== index);
    if (twice) throw new Wrong(`the application ${twice.name} is there twice`);
    return { apps, notes: Object.keys(rest).map((key) => notKnown(key)) };
  } catch (error) {
    if (error instanceof Wrong) return { problem: error.message };
    throw error;
  }
}

function readApp(document: unknown, index: number): ManifestApp {
  const app = mapping(document, `application ${index + 1}`);
  const given = text(app.name, `the name of application ${index + 1}`);
  const name = given === undefined ? undefined : parseAppName(given);
  if (name === undefined)
    throw new Wrong(
      `application ${index + 1}${given === undefined ? ' has no name' : ` cannot be called "${given}"`}: ${problemWithAppName(given ?? '')}`,
    );
  const inApp = (what: string): string => `${name}: ${what}`;
  const builds = building.filter((key) => app[key] !== undefined);
  if (app.docker === undefined)
    throw new Wrong(inApp('it has no docker.image; what is in a repository is deployed by a push'));
  if (builds.length > 0)
    throw new Wrong(
      inApp(`${builds.join(' and ')} beside docker: an image is deployed as it is, and nothing builds it`),
    );
  const docker = mapping(app.docker, inApp('docker'));
  const image = text(docker.image, inApp('docker.image'));
  const reference = image === undefined ? { problem: 'it has no docker.image' } : parseImageReference(image);
  if ('problem' in reference) throw new Wrong(inApp(reference.problem));
  const username = text(docker.username, inApp('docker.username'));

  const { processes, ...outside } = app;
  const web = webProcess(processes, inApp);
  const merged: Mapping = { ...outside, ...web.own };
  const routes = readRoutes(app.routes, inApp);
  const services = readServices(app.services, inApp);
  const notes = [
    ...Object.keys(docker)
      .filter((key) => key !== 'image' && key !== 'username')
      .map((key) => notKnown(`docker.${key}`)),
    ...Object.keys(merged).flatMap((key) => (known.has(key) ? [] : [notKnown(key)])),
    ...web.notes,
    ...routes.notes,
    ...services.notes,
  ];
  return {
    name,
    image: image ?? '',
    ...(username !== undefined && { username }),
    env: readEnv(app.env, inApp),
    options: readOptions(merged, inApp),
    domains: routes.domains,
    services: services.names,
    notes: notes.map(inApp),
  };
}

const known = new Set([
  'name',
  'docker',
  'env',
  'routes',
  'services',
  'memory',
  'instances',
  'command',
  'health-check-type',
  'health-check-http-endpoint',
  'timeout',
]);

function readOptions(app: Mapping, inApp: (what: string) => string): ManifestApp['options'] {
  const { memory, instances, command, timeout } = app;
  const bytes = memory === undefined ? undefined : parseMemory(text(memory, inApp('memory')) ?? '');
  if (memory !== undefined && bytes === undefined)
    throw new Wrong(inApp('memory is a size like 512M or 2G, at least 6M'));
  const check = app['health-check-type'];
  const type = check === 'none' ? 'process' : check;
  const healthCheck = healthCheckTypes.find((one) => one === type);
  if (check !== undefined && healthCheck === undefined)
    throw new Wrong(inApp('health-check-type is port, http or process'));
  const endpoint = text(app['health-check-http-endpoint'], inApp('health-check-http-endpoint'));
  return {
    ...(bytes !== undefined && { memory: bytes }),
    ...(instances !== undefined && { instances: whole(instances, inApp('instances')) }),
    // Cloud Foundry's way to take a command back.
    ...(command !== undefined && {
      command: command === null || command === 'null' ? null : (text(command, inApp('command')) ?? null),
    }),
    ...(healthCheck !== undefined && { healthCheck }),
    ...(endpoint !== undefined && { endpoint }),
    ...(timeout !== undefined && { startTimeout: whole(timeout, inApp('timeout')) }),
  };
}

/** The one process an app has here; what is said of it there comes before what is said of the app. */
function webProcess(processes: unknown, inApp: (what: string) => string): { own: Mapping; notes: string[] } {
  if (processes === undefined) return { own: {}, notes: [] };
  if (!Array.isArray(processes)) throw new Wrong(inApp('processes is a list'));
  let own: Mapping = {};
  const notes: string[] = [];
  for (const one of processes as unknown[]) {
    const { type, ...rest } = mapping(one, inApp('a process'));
    if (type === 'web') own = rest;
    else
      notes.push(
        `the process ${shown(type)} is not run: an app is one process, so make it an app of its own`,
      );
  }
  return { own, notes };
}

function readRoutes(
  routes: unknown,
  inApp: (what: string) => string,
): { domains: string[]; notes: string[] } {
  if (routes === undefined) return { domains: [], notes: [] };
  if (!Array.isArray(routes)) throw new Wrong(inApp('routes is a list'));
  const domains: string[] = [];
  const notes: string[] = [];
  for (const one of routes as unknown[]) {
    const { route, protocol, ...rest } = mapping(one, inApp('a route'));
    const host = text(route, inApp('a route')) ?? '';
    if (/[:*]/.test(host))
      notes.push(
        `the route ${shown(host)} is not made: a host name can be had, with a path, without port and *`,
      );
    else domains.push(routeOf(host, inApp));
    if (protocol !== undefined && protocol !== 'http1')
      notes.push(`protocol ${shown(protocol)} of a route is not used: visitors come by HTTP/1.1`);
    notes.push(...Object.keys(rest).map((key) => notKnown(`${key} of a route`)));
  }
  return { domains, notes };
}

/** Names, or mappings with more than that, none of which means anything here. */
function readServices(
  services: unknown,
  inApp: (what: string) => string,
): { names: ServiceName[]; notes: string[] } {
  if (services === undefined) return { names: [], notes: [] };
  if (!Array.isArray(services)) throw new Wrong(inApp('services is a list'));
  const names: ServiceName[] = [];
  const notes: string[] = [];
  for (const one of services as unknown[]) {
    const { name: given, ...rest } =
      typeof one === 'string' ? { name: one } : mapping(one, inApp('a service'));
    const name = parseServiceName(text(given, inApp('a service')) ?? '');
    if (name === undefined) throw new Wrong(inApp(`${shown(given)} cannot be a service: ${serviceNameRule}`));
    names.push(name);
    notes.push(...Object.keys(rest).map((key) => notKnown(`${key} of a service`)));
  }
  return { names, notes };
}

function routeOf(text: string, inApp: (what: string) => string): string {
  const domain = parseDomain(text);
  if (typeof domain !== 'string') throw new Wrong(inApp(`the route ${shown(text)}: ${domain.problem}`));
  return domain;
}

function readEnv(env: unknown, inApp: (what: string) => string): Record<string, string> {
  const values = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(env === undefined ? {} : mapping(env, inApp('env')))) {
    const problem = problemWithEnvName(name);
    if (problem) throw new Wrong(inApp(`the variable ${shown(name)}: ${problem}`));
    // As Cloud Foundry does.
    values[name] = typeof value === 'string' ? value : value === null ? '' : JSON.stringify(value);
  }
  return values;
}

/** `((name))` stands for a variable; alone it may be more than a text. */
function fillIn(value: unknown, variables: Readonly<Record<string, unknown>>): unknown {
  if (Array.isArray(value)) return value.map((one: unknown) => fillIn(one, variables));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(
      Object.entries(value).map(([key, one]: [string, unknown]) => [key, fillIn(one, variables)]),
    );
  if (typeof value !== 'string') return value;
  const valueOf = (name: string): unknown => {
    if (!Object.hasOwn(variables, name))
      throw new Wrong(`the variable ((${name})) has no value: --var ${name}=VALUE, or --vars-file FILE`);
    return variables[name];
  };
  const alone = /^\(\(([\w.-]+)\)\)$/.exec(value)?.[1];
  if (alone !== undefined) return valueOf(alone);
  return value.replaceAll(/\(\(([\w.-]+)\)\)/g, (_, name: string) => {
    const part = valueOf(name);
    return typeof part === 'string' ? part : JSON.stringify(part);
  });
}

function notKnown(key: string): string {
  const reason = Object.hasOwn(undone, key) ? undone[key] : undefined;
  return reason === undefined ? `${shown(key)} is not known, and not used` : `${key} is not used: ${reason}`;
}

function mapping(value: unknown, what: string): Mapping {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Wrong(`${what} is not made of keys and values`);
  return value as Mapping;
}

function text(value: unknown, what: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new Wrong(`${what} is not a text`);
}

function whole(value: unknown, what: string): number {
  const number = typeof value === 'string' && /^\d{1,6}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number))
    throw new Wrong(`${what} is not a whole number`);
  return number;
}

function shown(value: unknown): string {
  return JSON.stringify(value ?? null).slice(0, 80);
}
