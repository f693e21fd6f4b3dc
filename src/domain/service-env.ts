import { type BoundService, userProvided } from './service.ts';

/** What `VCAP_APPLICATION` is made of. */
export type PlatformFacts = {
  /** `app_` and a UUID, the same for the whole life of the app. */
  appId: string;
  app: string;
  /** Of the deployment, and of the release it makes. */
  number: number;
  /** Its host names. */
  hosts: readonly string[];
  memoryBytes: number;
};

/** Cloud Foundry's description of the app; what Gantry has not, organisations and spaces, has one name for all. */
export function vcapApplication({ appId, app, number, hosts, memoryBytes }: PlatformFacts): string {
  return JSON.stringify({
    application_id: appId,
    application_name: app,
    application_uris: hosts,
    application_version: String(number),
    limits: { mem: Math.floor(memoryBytes / 1024 ** 2) },
    name: app,
    organization_name: 'gantry',
    process_id: appId,
    process_type: 'web',
    space_name: 'gantry',
    uris: hosts,
    version: String(number),
  });
}

/**
 * What an app is told of its services, in the order they were bound: Cloud Foundry's `VCAP_SERVICES`, `DATABASE_URL` of the
 * first database, and what Clever Cloud's add-ons of the same kind set, each from the first service that says it.
 */
export function serviceEnv(services: readonly BoundService[]): Record<string, string> {
  const uris = services.flatMap(({ credentials }) => uriOf(credentials) ?? []);
  const database = uris.find((uri) => databases.test(uri)) ?? uris[0];
  const env: Record<string, string> = {};
  for (const uri of uris)
    for (const [name, value] of Object.entries(linkedVariables(uri))) env[name] ??= value;
  return {
    ...env,
    ...(database !== undefined && { DATABASE_URL: database }),
    VCAP_SERVICES: vcapServices(services),
  };
}

/** The relational ones, of which Cloud Foundry makes a `DATABASE_URL`. */
const databases = /^(?:postgres(?:ql)?|mysql2?|mariadb|db2|informix):/i;

function vcapServices(services: readonly BoundService[]): string {
  const byLabel: Record<string, object[]> = {};
  for (const { name, id, label, tags, bindingId, credentials } of services) {
    const isUserProvided = label === userProvided;
    byLabel[label] = [
      ...(byLabel[label] ?? []),
      {
        label,
        ...(!isUserProvided && { provider: null, plan: 'container' }),
        name,
        tags,
        instance_guid: id,
        instance_name: name,
        binding_guid: bindingId,
        binding_name: null,
        credentials,
        syslog_drain_url: isUserProvided ? '' : null,
        volume_mounts: [],
      },
    ];
  }
  return JSON.stringify(byLabel);
}

function uriOf({ uri }: BoundService['credentials']): string | undefined {
  return typeof uri === 'string' && /^[a-z][a-z0-9+.-]*:[^\s\p{Cc}]+$/iu.test(uri) ? uri : undefined;
}

const addOns = [
  { schemes: ['postgres:', 'postgresql:'], port: '5432', prefix: 'POSTGRESQL_ADDON_' },
  { schemes: ['mysql:', 'mysql2:', 'mariadb:'], port: '3306', prefix: 'MYSQL_ADDON_' },
  { schemes: ['redis:', 'rediss:', 'valkey:'], port: '6379', prefix: 'REDIS_' },
];

function linkedVariables(uri: string): Record<string, string> {
  if (!URL.canParse(uri)) return {};
  const { protocol, hostname, port, username, password, pathname } = new URL(uri);
  const addOn = addOns.find(({ schemes }) => schemes.includes(protocol));
  if (!addOn) return {};
  const { prefix } = addOn;
  const connection = {
    [`${prefix}HOST`]: hostname,
    [`${prefix}PORT`]: port || addOn.port,
    [`${prefix}PASSWORD`]: decode(password),
  };
  if (prefix === 'REDIS_') return { REDIS_URL: uri, ...connection };
  return {
    [`${prefix}URI`]: uri,
    ...connection,
    [`${prefix}USER`]: decode(username),
    [`${prefix}DB`]: decode(pathname.slice(1)),
  };
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text);
    return decoded.includes('\0') ? text : decoded;
  } catch {
    return text;
  }
}

/** Names under which credentials say where something is, and who asks; the rest is secret. */
const open = /^(?:host(?:name)?|port|(?:db_?)?name|database|db|user(?:name)?|scheme|label|plan)$/i;

/** Everything in the credentials that is to be hidden wherever it is printed, under names that say nothing. */
export function secretsOf(services: readonly BoundService[]): Record<string, string> {
  const found: string[] = [];
  const collect = (value: unknown, name: string): void => {
    if (typeof value === 'object' && value !== null)
      for (const [inner, part] of Object.entries(value)) collect(part, Array.isArray(value) ? name : inner);
    else if ((typeof value === 'string' || typeof value === 'number') && !open.test(name)) {
      const text = String(value);
      const password = URL.canParse(text) ? decode(new URL(text).password) : '';
      found.push(text, ...(password === '' ? [] : [password]));
    }
  };
  for (const { credentials } of services) collect(credentials, '');
  return Object.fromEntries(found.map((text, index) => [String(index), text]));
}
