import { z } from 'zod';
import { healthCheckTypes } from '../../domain/app-options.ts';

/** How an app is started and asked whether it is well; `null` is what its variables, its image or the server say. */
export const servingShape = z.object({
  port: z.number().nullable(),
  /** Run through `sh -c`. */
  command: z.string().nullable(),
  healthCheck: z.enum(healthCheckTypes).nullable(),
  /** The path that is to answer 200. */
  endpoint: z.string().nullable(),
  /** Seconds until it must be healthy. */
  startTimeout: z.number().nullable(),
});

export const appOptionsShape = z.object({
  /** Bytes and cores of each instance; `null` is the server's default. */
  memory: z.number().nullable(),
  cpus: z.number().nullable(),
  instances: z.number(),
  network: z.enum(['bridge', 'host']),
  /** All of them; only administrators give an app some. */
  extraHosts: z.array(z.strictObject({ name: z.string(), address: z.string() })),
  dockerNetworks: z.array(z.string()),
  dockerSocket: z.boolean(),
  task: z.boolean(),
  swap: z.enum(['start-first', 'stop-first']).nullable(),
  /** Run through `sh -c` in each image that is built, before anything of it is started. */
  testCommand: z.string().nullable(),
  /** Where built images go besides; `none`: nowhere; `null`: where the server says. */
  registry: z.string().nullable(),
  ...servingShape.shape,
  volumes: z.array(z.object({ name: z.string(), path: z.string() })),
});

export const appOptionsChangeShape = appOptionsShape.omit({ volumes: true }).partial().strict();

export const volumeShape = z.strictObject({ name: z.string(), path: z.string() });

/** Without a path: the app does not have it any more, but its data are still there. */
export const volumesShape = z.object({
  volumes: z.array(z.object({ name: z.string(), path: z.string().nullable() })),
});
