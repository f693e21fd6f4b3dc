import { z } from 'zod';
import { servingShape } from './options.ts';

/** What is deployed instead of a commit; the digest is known once the registry was asked. */
export const imageSourceShape = z.object({ reference: z.string(), digest: z.string().nullable() });

/** Names of variables; never values. */
export const envChangesShape = z.object({
  added: z.array(z.string()),
  changed: z.array(z.string()),
  removed: z.array(z.string()),
});

export const deploymentShape = z.object({
  number: z.number(),
  state: z.string(),
  trigger: z.string(),
  /** Empty for an image. */
  commit: z.string(),
  image: imageSourceShape.nullable(),
  subject: z.string(),
  branch: z.string(),
  by: z.string(),
  /** The step that failed. */
  step: z.string().nullable(),
  reason: z.string().nullable(),
  supersededBy: z.number().nullable(),
  /** The release a rollback brings back. */
  rollbackTo: z.number().nullable(),
  /** How its release ended soon after it went live, and what became of that. */
  crash: z.string().nullable(),
  /** Against the release before; `null` until it begins. */
  env: envChangesShape.nullable(),
  /** How often a worker began it. */
  runs: z.number(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
  /** Seconds in the queue and at work, so far. */
  waited: z.number(),
  took: z.number().nullable(),
});

export const releaseShape = z.object({
  number: z.number(),
  /** Empty for an image. */
  commit: z.string(),
  image: imageSourceShape.nullable(),
  subject: z.string(),
  by: z.string(),
  trigger: z.string(),
  rollbackTo: z.number().nullable(),
  /** Where its image is besides: `registry.example/app:commit@sha256:…`. */
  published: z.string().nullable(),
  /** Bytes. */
  imageSize: z.number().nullable(),
  /** Against the release before; `null` when that was not recorded. */
  env: envChangesShape.nullable(),
  createdAt: z.string(),
  live: z.boolean(),
  /** Soon after it went live. */
  crashed: z.boolean(),
  /** Heroku's name: its image is kept, and it is not the live one. */
  eligible_for_rollback: z.boolean(),
});

export const releasesShape = z.object({ releases: z.array(releaseShape) });

export const rollbackShape = z.object({ number: z.number(), release: z.number() });

const deployAgainShape = z.strictObject({
  kind: z.enum(['restart', 'redeploy']),
  noCache: z.boolean().default(false),
});

/** An image of a registry. What is left out of the options stays as it is. */
const deployImageShape = servingShape
  .partial()
  .extend({
    kind: z.literal('image'),
    /** `registry.example/shop:1.2`, or with `@sha256:…`. */
    image: z.string().max(600),
    /** The login is kept for this app and that registry; `null` forgets it. */
    login: z
      .strictObject({ username: z.string().min(1).max(500), password: z.string().min(1).max(20_000) })
      .nullable()
      .optional(),
  })
  .strict();

export const newDeploymentShape = z.union([deployImageShape, deployAgainShape]);

export const acceptedShape = z.object({ number: z.number() });

export const deploymentsShape = z.object({ deployments: z.array(deploymentShape) });

export const cancelShape = z.object({ result: z.enum(['cancelled', 'asked', 'too late']) });
