import { z } from 'zod';

/** This folder has the shapes of the API, shared by the server and the command line. */
export const appShape = z.object({
  name: z.string(),
  branch: z.string(),
  live: z.number().nullable(),
  /** `new`: nothing was live yet. `stopping`: it is to be stopped, and some of it still runs. */
  state: z.enum(['new', 'live', 'stopping', 'stopped', 'deleting']),
  stopped: z.object({ by: z.string(), at: z.string() }).nullable(),
  url: z.string(),
  latest: z.object({ number: z.number(), state: z.string() }).nullable(),
});

export const appsShape = z.object({ apps: z.array(appShape) });

export const envShape = z.object({ env: z.record(z.string(), z.string()) });

/** `null` removes a variable. */
export const envChangeShape = z.strictObject({ env: z.record(z.string(), z.string().nullable()) });

export const instancesShape = z.object({
  state: appShape.shape.state,
  instances: z.array(
    z.object({
      instance: z.number(),
      release: z.number(),
      /** `missing`: it should serve, and is not there. */
      state: z.enum(['starting', 'running', 'unhealthy', 'draining', 'exited', 'missing']),
      /** Why it is unhealthy, has exited or is missing. */
      detail: z.string().nullable(),
      since: z.string().nullable(),
      /** Bytes. */
      memory: z.object({ limit: z.number().nullable(), used: z.number().nullable() }),
      cpus: z.number().nullable(),
      restarts: z.number(),
    }),
  ),
});

export const deletedShape = z.object({ state: z.literal('deleting') });

/** `cancelled`: numbers of the deployments that were not past their switch. */
export const stopShape = z.object({
  state: z.enum(['stopping', 'stopped']),
  cancelled: z.array(z.number()),
});

/** `started: false`: it runs already, as this release. */
export const startShape = z.object({ number: z.number(), started: z.boolean() });
