import { z } from 'zod';
import { webhookProviders } from '../../domain/webhook.ts';
import { imageSourceShape } from './deployments.ts';

const webhookProviderShape = z.enum(webhookProviders);

export const webhookShape = z.object({
  provider: webhookProviderShape,
  /** Without a login. */
  repository: z.string(),
  /** Empty for images. */
  branch: z.string(),
  /** Of images. */
  tag: z.string().nullable(),
  /** Where deliveries go, below the address of this server. */
  path: z.string(),
  createdAt: z.string(),
  /** How often the branch is looked at as well, and how the last look went. */
  poll: z
    .object({
      everySeconds: z.number(),
      at: z.string().nullable(),
      problem: z.string().nullable(),
      /** When the problem began. */
      since: z.string().nullable(),
    })
    .nullable(),
  /** Whether the forge is told the status of each commit. */
  status: z.boolean(),
});

const pollSeconds = z.number().int().min(5).max(86_400);

/** The forge's, one that may write the status of commits. */
const statusToken = z.string().regex(/^[\x21-\x7e]{1,1000}$/);

export const newWebhookShape = z.strictObject({
  provider: webhookProviderShape,
  /** A URL, or for the providers of images the name of one. */
  repository: z.string().max(2000),
  branch: z.string().max(200).optional(),
  /** Of images; `latest` unless it is said. */
  tag: z.string().max(200).optional(),
  /** The private key for ssh. */
  sshKey: z.string().max(20_000).optional(),
  pollSeconds: pollSeconds.optional(),
  statusToken: statusToken.optional(),
});

/** What is not in it stays; `null` ends it. */
export const webhookChangeShape = z.strictObject({
  pollSeconds: pollSeconds.nullable().optional(),
  statusToken: statusToken.nullable().optional(),
});

/** The secret is shown this once. */
export const madeWebhookShape = webhookShape.extend({ secret: z.string() });

export const deliveryShape = z.object({
  id: z.string(),
  provider: webhookProviderShape,
  receivedAt: z.string(),
  state: z.enum(['fetching', 'deploying', 'ignored', 'refused', 'failed', 'connected']),
  reason: z.string().nullable(),
  number: z.number().nullable(),
  branch: z.string().nullable(),
  commit: z.string().nullable(),
  /** The digest is known when the sender said which one it is. */
  image: imageSourceShape.nullable(),
});

export const deliveriesShape = z.object({ deliveries: z.array(deliveryShape) });

/** What the sender of a delivery is told. */
export const deliveryAnswerShape = z.object({
  state: deliveryShape.shape.state,
  reason: z.string().optional(),
  number: z.number().optional(),
  delivery: z.string().optional(),
});
