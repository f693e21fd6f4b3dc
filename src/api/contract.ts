import { z } from 'zod';
import { healthCheckTypes, smallestMemory } from '../domain/app-options.ts';
import { templateNames } from '../domain/managed-service.ts';
import { defaultPort } from '../domain/network-policy.ts';
import { eventTypes, webhookFormats } from '../domain/outgoing-webhook.ts';
import { webhookProviders } from '../domain/webhook.ts';

/** The shapes of the API, shared by the server and the command line. */
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

/** How an app is started and asked whether it is well; `null` is what its variables, its image or the server say. */
const servingShape = z.object({
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

export const tcpShape = z.object({ app: z.string(), port: z.number() });

export const tcpListShape = z.object({ tcp: z.array(tcpShape) });

/** What is deployed instead of a commit; the digest is known once the registry was asked. */
const imageSourceShape = z.object({ reference: z.string(), digest: z.string().nullable() });

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

const cells = z.number().int().min(1).max(10_000);

const terminalSizeShape = z.strictObject({ columns: cells, rows: cells });

/** What a person's terminal says; the answers come as the same with parts of `output`, `errors` or `closed`. */
export const terminalMessageShape = z.strictObject({
  first: z.number().int().min(1),
  parts: z
    .array(
      z.union([
        z.strictObject({ input: z.base64().max(100_000) }),
        z.strictObject({ resize: terminalSizeShape }),
        z.strictObject({ end: z.literal(true) }),
      ]),
    )
    .max(256),
  received: z.number().int().min(0),
  handled: z.number().int().min(0),
  hello: z.boolean().optional(),
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

export const taskShape = z.object({
  number: z.number(),
  state: z.enum(['PENDING', 'RUNNING', 'CANCELING', 'SUCCEEDED', 'FAILED']),
  command: z.array(z.string()),
  name: z.string().nullable(),
  /** Bytes; `null` is as much as an instance has. */
  memory: z.number().nullable(),
  by: z.string(),
  cron: z.number().nullable(),
  /** In a terminal of whoever asked for it, or with their streams. */
  interactive: z.boolean(),
  /** The one it runs in; `null`: in a container of its own. */
  instance: z.number().nullable(),
  exitCode: z.number().nullable(),
  reason: z.string().nullable(),
  createdAt: z.string(),
  endedAt: z.string().nullable(),
});

export const tasksShape = z.object({ tasks: z.array(taskShape) });

const screenShape = terminalSizeShape.extend({ kind: z.string().regex(/^[\w.+-]{1,64}$/) });

export const newTaskShape = z.strictObject({
  command: z.array(z.string()),
  name: z
    .string()
    .regex(
      /^[\w.-]{1,100}$/,
      'the name of a task has 1 to 100 letters, digits, dots, hyphens and underscores',
    )
    .optional(),
  /** Bytes. */
  memory: z.number().int().min(smallestMemory).optional(),
  /** What the command reads, in base64. */
  stdin: z.base64().max(1_400_000).optional(),
  /** Its input and output go through `…/terminal` then. */
  terminal: screenShape.optional(),
});

/** Its input and output go through the `…/terminal` of the task it becomes. */
export const execShape = z.strictObject({
  command: z.array(z.string()),
  instance: z.number().int().min(0).max(1000).default(0),
  /** Whose container: one that failed may have been kept. Default: the live release. */
  deployment: z.number().int().min(1).optional(),
  terminal: screenShape.optional(),
});

export const cronShape = z.object({
  cron: z.array(
    z.object({
      schedule: z.string(),
      command: z.string(),
      next: z.string().nullable(),
      last: taskShape.nullable(),
      skippedAt: z.string().nullable(),
    }),
  ),
});

const deployAgainShape = z.strictObject({
  kind: z.enum(['restart', 'redeploy']),
  noCache: z.boolean().default(false),
});

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

/** `cancelled`: numbers of the deployments that were not past their switch. */
export const deletedShape = z.object({ state: z.literal('deleting') });

export const stopShape = z.object({
  state: z.enum(['stopping', 'stopped']),
  cancelled: z.array(z.number()),
});

/** `started: false`: it runs already, as this release. */
export const startShape = z.object({ number: z.number(), started: z.boolean() });

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

/** `ok`, or what is wrong, for each thing the server needs. */
export const readinessShape = z.object({ ready: z.boolean(), checks: z.record(z.string(), z.string()) });

export const domainShape = z.strictObject({ domain: z.string().max(400) });

/** Where the containers of one app may reach those of another: at its internal host names. */
export const networkPolicyShape = z.object({
  source: z.string(),
  destination: z.string(),
  protocol: z.enum(['tcp', 'udp']),
  port: z.int(),
  endPort: z.int(),
});

export const networkPoliciesShape = z.object({ policies: z.array(networkPolicyShape) });

/** `ports`: one as `8080`, or a range as `8080-8090`. */
export const networkPolicyChangeShape = z.strictObject({
  destination: z.string().max(100),
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  ports: z.string().max(11).default(String(defaultPort)),
});

/** The host name by the app's own name first. */
export const domainsShape = z.object({ domains: z.array(z.string()) });

/** As large as a push that a proxy may refuse; nothing of it is kept. */
export const connectionCheckShape = z.object({
  filler: z.string().max(4 * 1024 ** 2),
  /** Seconds before the last line. */
  silence: z.number().int().min(0).max(240).default(0),
});

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
