import { z } from 'zod';

export const statusShape = z.object({
  version: z.string(),
  /** Whether it can deploy and serve now; why not is for administrators: /readiness. */
  ready: z.boolean(),
  apps: z.number(),
  /** Deployments. */
  running: z.number(),
  queued: z.number(),
  /** Apps of which not all serves that should, of those that who asks may see. */
  troubles: z.array(z.object({ app: z.string(), reason: z.string() })),
});

/** RFC 9457, with our stable code and what to do about it. */
export const problemShape = z.object({
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  code: z.string(),
  hint: z.string().optional(),
  /** The address that was asked. */
  instance: z.string(),
  /** As in the header `x-request-id` and in the server's log. */
  requestId: z.string(),
});

export const problemType = 'application/problem+json';

/** `ok`, or what is wrong, for each thing the server needs. */
export const readinessShape = z.object({ ready: z.boolean(), checks: z.record(z.string(), z.string()) });

/** As large as a push that a proxy may refuse; nothing of it is kept. */
export const connectionCheckShape = z.object({
  filler: z.string().max(4 * 1024 ** 2),
  /** Seconds before the last line. */
  silence: z.number().int().min(0).max(240).default(0),
});
