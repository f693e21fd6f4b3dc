import type { ManagedService, ServiceCopy, ServiceState } from './managed-service.ts';

declare const brand: unique symbol;

/** A name that is safe as a host name, a label value, a Redis key and part of a container's name. */
export type ServiceName = string & { readonly [brand]: 'ServiceName' };

export type Credentials = Readonly<Record<string, unknown>>;

/** Something apps use besides themselves, such as a database: its credentials, and who may use it. */
export type Service = {
  name: ServiceName;
  id: string;
  /** Cloud Foundry's word for the kind of a service. */
  label: string;
  /** Runs here; else somewhere else. */
  managed: ManagedService | undefined;
  status: ServiceState;
  /** The last one, or the one under way. */
  copy: ServiceCopy | undefined;
  tags: readonly string[];
  /** Whoever may deploy an app may bind it to that, not administrators only. */
  isShared: boolean;
  by: string;
  createdAt: Date;
};

export type Binding = { id: string; app: string; by: string; at: Date };

/** A service as an app has it. */
export type BoundService = Pick<Service, 'name' | 'id' | 'label' | 'tags'> & {
  bindingId: string;
  isManaged: boolean;
  credentials: Credentials;
};

export const userProvided = 'user-provided';

export function parseServiceName(text: string): ServiceName | undefined {
  const isName = /^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/.test(text) && text !== 'localhost';
  return isName ? (text as ServiceName) : undefined;
}

export const serviceNameRule =
  'the name of a service has 1 to 40 lower-case letters, digits and hyphens, starts with a letter and does not end in a hyphen';

const maxCredentialBytes = 64 * 1024;

/** `VCAP_SERVICES` has to fit into a variable of a process, which ends at 128 KiB. */
export function problemWithCredentials(credentials: Credentials): string | undefined {
  const bytes = Buffer.byteLength(JSON.stringify(credentials));
  return bytes > maxCredentialBytes
    ? `the credentials of a service are at most ${maxCredentialBytes / 1024} KiB`
    : undefined;
}
