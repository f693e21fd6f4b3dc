import { z } from 'zod';
import { smallestMemory } from '../../domain/app-options.ts';
import { templateNames } from '../../domain/managed-service.ts';

const credentialsShape = z.record(z.string(), z.unknown());

const tagsShape = z.array(z.string().regex(/^[\w.:/-]{1,100}$/)).max(50);

export const serviceShape = z.object({
  name: z.string(),
  id: z.string(),
  /** As in `VCAP_SERVICES`. */
  label: z.string(),
  state: z.enum(['starting', 'ready', 'failed', 'deleting']),
  /** Why it failed. */
  reason: z.string().nullable(),
  /** How it runs here; else it runs elsewhere. */
  managed: z
    .object({ image: z.string(), port: z.number(), path: z.string(), memory: z.number().nullable() })
    .nullable(),
  tags: z.array(z.string()),
  /** Whoever may deploy an app may bind it. */
  shared: z.boolean(),
  /** Apps that have it, of those one may read. */
  apps: z.array(z.string()),
  createdAt: z.string(),
  createdBy: z.string(),
});

/** A backup of what a service that runs here has in its volume, or a restore of it; one at a time. */
const serviceCopyShape = z.object({
  id: z.string(),
  kind: z.enum(['backup', 'restore']),
  state: z.enum(['under way', 'done', 'failed']),
  reason: z.string().nullable(),
});

export const begunCopyShape = z.object({ id: z.string() });

export const servicesShape = z.object({ services: z.array(serviceShape) });

/** Values only when they were asked for. */
export const serviceDetailShape = serviceShape.extend({
  /** The last one. */
  copy: serviceCopyShape.nullable(),
  credentialNames: z.array(z.string()),
  credentials: credentialsShape.nullable(),
});

/** With a template or an image it runs here; else its credentials say where it is. */
export const newServiceShape = z.strictObject({
  name: z.string().max(100),
  credentials: credentialsShape.optional(),
  template: z.enum(templateNames).optional(),
  image: z.string().max(600).optional(),
  port: z.number().int().min(1).max(65535).optional(),
  /** Of its volume in the container. */
  path: z.string().max(500).optional(),
  /** Through `sh -c`. */
  command: z.string().min(1).max(10_000).optional(),
  env: z.record(z.string(), z.string()).default({}),
  memory: z.number().int().min(smallestMemory).optional(),
  tags: tagsShape.default([]),
  shared: z.boolean().default(false),
});

/** What is not in it stays. */
export const serviceChangeShape = z.strictObject({
  credentials: credentialsShape.optional(),
  image: z.string().max(600).optional(),
  memory: z.number().int().min(smallestMemory).nullable().optional(),
  tags: tagsShape.optional(),
  shared: z.boolean().optional(),
});

export const bindingShape = z.object({
  service: z.string(),
  label: z.string(),
  boundAt: z.string(),
  boundBy: z.string(),
});

export const bindingsShape = z.object({ services: z.array(bindingShape) });
