import { z } from 'zod';

/** Points in time are ISO 8601 in UTC. */
export const tokenShape = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  createdBy: z.string(),
  createdAt: z.string(),
  expires: z.string().nullable(),
  /** To the minute. */
  lastUsed: z.string().nullable(),
});

export const tokensShape = z.object({ tokens: z.array(tokenShape) });

export const newTokenShape = z.strictObject({
  name: z.string(),
  /** `admin`, `deploy:<app>` or `read:<app>`. */
  scopes: z.array(z.string()).min(1).max(100),
  /** `90d`, `12h`, or a day or moment in ISO 8601; without it, it never expires. */
  expires: z.string().max(40).nullable().default(null),
});

/** `token` is shown this once. */
export const madeTokenShape = tokenShape.extend({ token: z.string() });

export const whoamiShape = z.object({
  id: z.string(),
  name: z.string(),
  admin: z.boolean(),
  scopes: z.array(z.string()),
});

export const auditShape = z.object({
  audit: z.array(
    z.object({
      id: z.string(),
      at: z.string(),
      by: z.string(),
      tokenId: z.string(),
      address: z.string(),
      app: z.string(),
      action: z.string(),
      what: z.string(),
      result: z.string(),
    }),
  ),
});
