import { z } from 'zod';
import { eventTypes, webhookFormats } from '../../domain/outgoing-webhook.ts';

/** One event for one outgoing webhook. */
export const noticeShape = z.object({
  /** As in the header `webhook-id`. */
  id: z.string(),
  type: z.enum(eventTypes),
  app: z.string().nullable(),
  number: z.number().nullable(),
  state: z.enum(['waiting', 'delivered', 'failed', 'dropped']),
  attempts: z.number(),
  /** How the last attempt went. */
  verdict: z.string().nullable(),
  createdAt: z.string(),
  nextAt: z.string().nullable(),
});

export const noticesShape = z.object({ deliveries: z.array(noticeShape) });

export const outgoingShape = z.object({
  id: z.string(),
  /** `null`: of all apps. */
  app: z.string().nullable(),
  /** Without what is secret in it. */
  url: z.string(),
  format: z.enum(webhookFormats),
  events: z.array(z.enum(eventTypes)),
  createdAt: z.string(),
  createdBy: z.string(),
  /** Why nothing is sent any more. */
  disabled: z.string().nullable(),
  last: noticeShape.nullable(),
});

export const outgoingListShape = z.object({ webhooks: z.array(outgoingShape) });

export const newOutgoingShape = z.strictObject({
  url: z.string().max(2000),
  format: z.enum(webhookFormats).exclude(['status']).default('json'),
  /** Without it: all. */
  events: z.array(z.enum(eventTypes)).min(1).optional(),
});

/** The secret is shown this once. */
export const madeOutgoingShape = outgoingShape.extend({ secret: z.string() });
