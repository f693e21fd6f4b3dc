import type { z } from 'zod';
import type { appOptionsChangeShape, appOptionsShape } from '../api/contract/options.ts';
import { parseExtraHost, parseMemory, showMemory } from '../domain/app-options.ts';
import { appName, call } from './api-client.ts';
import { UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

type Options = z.infer<typeof appOptionsShape>;
type Change = z.infer<typeof appOptionsChangeShape>;

type ScaleFlags = { app?: string; json?: boolean; memory?: string; cpus?: string; instances?: string };

/** Without a size it shows the sizes. `default` takes one back. */
export async function scale(flags: ScaleFlags): Promise<void> {
  const change: Change = {
    ...(flags.memory !== undefined && { memory: readMemory(flags.memory) }),
    ...(flags.cpus !== undefined && {
      cpus: flags.cpus === 'default' ? null : readNumber('cpus', flags.cpus),
    }),
    ...(flags.instances !== undefined && { instances: readNumber('instances', flags.instances) }),
  };
  await changeOrShow(await appName(flags.app), change, flags.json);
}

type SetFlags = {
  json?: boolean;
  network?: string;
  addHost?: string[];
  dockerNetwork?: string[];
  dockerSocket?: boolean;
  task?: boolean;
  swap?: string;
  testCommand?: string;
  registry?: string;
} & ServingFlags;

/** How an app is started and asked whether it is well; `default` takes one back. */
export type ServingFlags = {
  port?: string;
  command?: string;
  healthCheckType?: string;
  endpoint?: string;
  timeout?: string;
};

export function readServing({ port, command, healthCheckType, endpoint, timeout }: ServingFlags): Change {
  return {
    ...(port !== undefined && { port: port === 'default' ? null : readNumber('ports', port) }),
    ...(command !== undefined && { command: orNull(command) }),
    ...(healthCheckType !== undefined && {
      healthCheck: orNull(healthCheckType) as Options['healthCheck'],
    }),
    ...(endpoint !== undefined && { endpoint: orNull(endpoint) }),
    ...(timeout !== undefined && {
      startTimeout: timeout === 'default' ? null : readNumber('seconds', timeout),
    }),
  };
}

/** `null` is Cloud Foundry's word for it. */
function orNull(text: string): string | null {
  return text === 'default' || text === 'null' ? null : text;
}

export async function setOptions(app: string, flags: SetFlags): Promise<void> {
  const change: Change = {
    ...(flags.network !== undefined && { network: flags.network as Options['network'] }),
    ...(flags.addHost && { extraHosts: unlessNone(flags.addHost).map(parseExtraHost) }),
    ...(flags.dockerNetwork && { dockerNetworks: unlessNone(flags.dockerNetwork) }),
    ...(flags.dockerSocket !== undefined && { dockerSocket: flags.dockerSocket }),
    ...(flags.task !== undefined && { task: flags.task }),
    ...(flags.swap !== undefined && {
      swap: flags.swap === 'default' ? null : (flags.swap as NonNullable<Options['swap']>),
    }),
    ...(flags.testCommand !== undefined && { testCommand: orNull(flags.testCommand) }),
    ...(flags.registry !== undefined && { registry: orNull(flags.registry) }),
    ...readServing(flags),
  };
  if (Object.keys(change).length === 0) throw new UsageError('what is to be set? see gantry apps set --help');
  await changeOrShow(encodeURIComponent(app), change, flags.json);
}

function unlessNone(all: string[]): string[] {
  return all.length === 1 && all[0] === 'none' ? [] : all;
}

export async function showApp(app: string, flags: { json?: boolean }): Promise<void> {
  await changeOrShow(encodeURIComponent(app), {}, flags.json);
}

async function changeOrShow(app: string, change: Change, json: boolean | undefined): Promise<void> {
  const isChange = Object.keys(change).length > 0;
  const options = isChange
    ? await call<typeof appOptionsShape>('PATCH', `/apps/${app}/options`, change)
    : await call<typeof appOptionsShape>('GET', `/apps/${app}/options`);
  if (json) printJson(options);
  else printTable(['OPTION', 'VALUE'], rows(options));
  if (isChange)
    console.error(
      'in force with the next deployment: gantry restart, or gantry redeploy if the build needs it',
    );
}

function rows(options: Options): string[][] {
  return [
    ['memory', options.memory === null ? 'default' : showMemory(options.memory)],
    ['cpus', options.cpus === null ? 'default' : String(options.cpus)],
    ['instances', String(options.instances)],
    ['network', options.network],
    ...options.extraHosts.map(({ name, address }) => ['host', `${name}:${address}`]),
    ...options.dockerNetworks.map((name) => ['docker network', name]),
    ['docker socket', options.dockerSocket ? 'allowed' : 'no'],
    ['task', options.task ? 'yes' : 'no'],
    ['swap', options.swap ?? 'default'],
    ['port', String(options.port ?? 'default')],
    ['command', options.command ?? 'default'],
    ['test command', options.testCommand ?? 'none'],
    ['registry', options.registry ?? 'default'],
    ['health check', options.healthCheck ?? 'default'],
    ['endpoint', options.endpoint ?? 'default'],
    ['start timeout', options.startTimeout === null ? 'default' : `${options.startTimeout}s`],
    ...options.volumes.map(({ name, path }) => ['volume', `${name}:${path}`]),
  ];
}

export function readMemory(text: string): number | null {
  if (text === 'default') return null;
  const bytes = parseMemory(text);
  if (bytes === undefined)
    throw new UsageError(`"${text}" is no size of a memory: write 512M or 2G, at least 6M`);
  return bytes;
}

function readNumber(what: string, text: string): number {
  if (!/^\d{1,5}(\.\d{1,3})?$/.test(text)) throw new UsageError(`"${text}" is no number of ${what}`);
  return Number(text);
}
