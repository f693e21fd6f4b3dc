import { createHash } from 'node:crypto';
import type { Credentials, ServiceName } from './service.ts';

/** A service that runs in a container of ours, with its data in a volume. */
export type ManagedService = {
  /** As it was asked for. */
  image: string;
  port: number;
  /** Where the volume is in the container. */
  path: string;
  memoryBytes: number | undefined;
  /** Through `sh -c`, instead of what the image says. */
  command: string | undefined;
  /** Counts the volumes it has had: a restore fills the next one. */
  volume: number;
};

/** `failed`: it is tried again now and then. */
export type ServiceState = {
  state: 'starting' | 'ready' | 'failed' | 'deleting';
  reason?: string;
};

/** A copy of the volume into a file or from one. */
export type ServiceCopy = {
  id: string;
  kind: 'backup' | 'restore';
  /** The volume it began with. */
  volume: number;
  state: 'under way' | 'done' | 'failed';
  reason?: string;
};

type Made = { credentials: Credentials; env: Record<string, string> };

type Template = Pick<ManagedService, 'image' | 'port' | 'path' | 'command'> & {
  /** Cloud Foundry's `label`. */
  label: string;
  /** Official images that are this, wherever they come from. */
  images: readonly string[];
  make: (host: string, password: string, rootPassword: string) => Made;
};

function made(
  scheme: string,
  login: { host: string; port: number; name?: string; username?: string; password: string },
  env: Record<string, string>,
): Made {
  const { host, port, name = '', username = '', password } = login;
  const uri = `${scheme}://${username}:${encodeURIComponent(password)}@${host}:${port}${name && `/${name}`}`;
  return { credentials: { uri, hostname: host, ...login }, env };
}

/** The password reaches the server neither by its arguments nor by a file. */
const redisCommand = `server=redis-server
if command -v valkey-server >/dev/null; then server=valkey-server; fi
if command -v docker-entrypoint.sh >/dev/null; then set -- docker-entrypoint.sh "$server"; else set -- "$server"; fi
exec "$@" - <<END
dir /data
appendonly yes
requirepass $REDIS_PASSWORD
END`;

function redis(image: string, label: string): Template {
  return {
    label,
    image,
    images: [label],
    port: 6379,
    path: '/data',
    command: redisCommand,
    make: (host, password) => made('redis', { host, port: 6379, password }, { REDIS_PASSWORD: password }),
  };
}

export const templates = {
  postgresql: {
    label: 'postgresql',
    image: 'postgres:16',
    images: ['postgres', 'postgresql'],
    port: 5432,
    path: '/var/lib/postgresql/data',
    command: undefined,
    make: (host, password) =>
      made(
        'postgresql',
        { host, port: 5432, name: 'app', username: 'app', password },
        {
          POSTGRES_USER: 'app',
          POSTGRES_PASSWORD: password,
          POSTGRES_DB: 'app',
          // Newer images look elsewhere unless they are told.
          PGDATA: '/var/lib/postgresql/data/pgdata',
        },
      ),
  },
  redis: redis('redis:7', 'redis'),
  valkey: redis('valkey/valkey:8', 'valkey'),
  mariadb: {
    label: 'mariadb',
    image: 'mariadb:11',
    images: ['mariadb'],
    port: 3306,
    path: '/var/lib/mysql',
    command: undefined,
    make: (host, password, rootPassword) =>
      made(
        'mysql',
        { host, port: 3306, name: 'app', username: 'app', password },
        {
          MARIADB_USER: 'app',
          MARIADB_PASSWORD: password,
          MARIADB_DATABASE: 'app',
          MARIADB_ROOT_PASSWORD: rootPassword,
        },
      ),
  },
} as const satisfies Record<string, Template>;

export type TemplateName = keyof typeof templates;
export const templateNames = Object.keys(templates) as [TemplateName, ...TemplateName[]];

/** What an image is by the last part of its name: `postgres:16` needs no telling. */
export function templateOfImage(path: string): TemplateName | undefined {
  const last = path.split('/').at(-1) ?? '';
  return templateNames.find((name) => (templates[name].images as readonly string[]).includes(last));
}

/** Changes with everything a container is made of: one with another mark is replaced. */
export function markOf(managed: ManagedService, env: Readonly<Record<string, string>>): string {
  return createHash('sha256')
    .update(JSON.stringify([managed, env]))
    .digest('hex')
    .slice(0, 16);
}

/** No name of an app has a dot, nor does one of ours begin like those of apps: nothing of an app is called so. */
export function serviceObject(storeTag: string, name: ServiceName): string {
  return `gantry-${storeTag}.${name}`;
}

export function serviceVolume(storeTag: string, name: ServiceName, number: number): string {
  return `${serviceObject(storeTag, name)}.${number}`;
}
