import { readFile } from 'node:fs/promises';
import type { z } from 'zod';
import type { outgoingListShape } from '../api/contract/outgoing-webhooks.ts';
import type {
  deliveriesShape,
  deliveryAnswerShape,
  madeWebhookShape,
  webhookShape,
} from '../api/contract/webhooks.ts';
import { imageProviders } from '../domain/webhook.ts';
import { appName, call, findServer, request } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';
import { readSecret } from './read-secret.ts';
import { stateOf } from './webhooks-out.ts';

type Options = { app?: string; json?: boolean };
type Link = Options & {
  provider: string;
  repo?: string;
  image?: string;
  tag?: string;
  branch: string;
  key?: string;
  poll?: string;
  status?: boolean;
};

/** The app is made unless there is one, as with a first push. */
export async function linkWebhook(given: string | undefined, options: Link): Promise<void> {
  const app = await appName(given ?? options.app);
  const what = linked(options);
  const sshKey = options.key === undefined ? undefined : await readKey(options.key);
  const pollSeconds = options.poll === undefined ? undefined : secondsIn(options.poll);
  const statusToken = options.status ? await readStatusToken() : undefined;
  const link = () =>
    call<typeof madeWebhookShape>('PUT', `/apps/${app}/webhook`, {
      provider: options.provider,
      ...what,
      ...(sshKey !== undefined && { sshKey }),
      ...(pollSeconds !== undefined && { pollSeconds }),
      ...(statusToken !== undefined && { statusToken }),
    });
  const made = await link().catch(async (error: unknown) => {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await call('POST', '/apps', { name: decodeURIComponent(app) });
    return link();
  });
  if (options.json) return printJson({ ...made, url: await urlOf(made.path) });
  if (made.tag !== null) {
    console.error(`what is pushed as ${made.repository}:${made.tag} is deployed; tell ${made.provider}:`);
    return tellRegistry(made);
  }
  console.error(`pushes to ${made.branch} of ${made.repository} are deployed; tell ${made.provider}:`);
  console.log(`URL     ${await urlOf(made.path)}\nsecret  ${made.secret}`);
  console.error('as content type JSON, for push events. The secret is shown only now.');
}

/** Images have a name and a tag where commits have a URL and a branch. */
function linked({ provider, repo, image, tag, branch }: Link) {
  const isImage = imageProviders.some((name) => name === provider);
  if (isImage && image !== undefined && repo === undefined)
    return { repository: image, ...(tag !== undefined && { tag }) };
  if (!isImage && repo !== undefined && image === undefined && tag === undefined)
    return { repository: repo, branch };
  throw new UsageError(
    isImage
      ? `${provider} speaks of images: --image NAME, and --tag TAG, but no --repo`
      : `${provider} speaks of commits: --repo URL, and --branch NAME, but no --image and --tag`,
  );
}

async function tellRegistry({ provider, path, secret }: z.infer<typeof madeWebhookShape>): Promise<void> {
  const url = await urlOf(path);
  if (provider === 'dockerhub') {
    console.log(`URL     ${url}`);
    return console.error('The end of it is a secret, which is shown only now.');
  }
  console.log(`URL     ${url}\nsecret  ${secret}`);
  console.error(
    provider === 'registry'
      ? 'under notifications, endpoints, with headers: Authorization: [Bearer SECRET]. The secret is shown only now.'
      : 'as content type JSON, for the event "Registry packages". The secret is shown only now.',
  );
}

/** Changes a link, whose secret stays. */
export async function changeWebhook(options: Options & { poll?: string; status?: boolean }): Promise<void> {
  const app = await appName(options.app);
  const { poll, status } = options;
  if (poll === undefined && status === undefined)
    throw new UsageError('what? --poll 5m, --poll off, --status');
  const changed = await call<typeof webhookShape>('PATCH', `/apps/${app}/webhook`, {
    ...(poll !== undefined && { pollSeconds: poll === 'off' ? null : secondsIn(poll) }),
    ...(status !== undefined && { statusToken: status ? await readStatusToken() : null }),
  });
  if (options.json) return printJson(changed);
  console.error(
    `${changed.repository}: ${pollOf(changed)}; commit status: ${changed.status ? 'told' : 'not told'}`,
  );
}

/** Everything that comes in and goes out, each with how it is doing. */
export async function listWebhooks(options: Options): Promise<void> {
  const app = await appName(options.app);
  const [link, { webhooks }] = await Promise.all([
    call<typeof webhookShape>('GET', `/apps/${app}/webhook`).catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }),
    call<typeof outgoingListShape>('GET', `/apps/${app}/webhooks/out`),
  ]);
  if (options.json) return printJson({ in: link ?? null, out: webhooks });
  const rows = webhooks.map((webhook) => ['out', webhook.id, webhook.format, webhook.url, stateOf(webhook)]);
  if (link)
    rows.unshift(['in', '-', link.provider, `${link.repository} ${link.tag ?? link.branch}`, pollOf(link)]);
  printTable(['', 'ID', 'KIND', 'WHERE', 'STATE'], rows);
}

export async function showWebhook(options: Options): Promise<void> {
  const link = await call<typeof webhookShape>('GET', `/apps/${await appName(options.app)}/webhook`);
  if (options.json) return printJson({ ...link, url: await urlOf(link.path) });
  printTable(
    ['PROVIDER', 'REPOSITORY', 'BRANCH OR TAG', 'URL', 'POLLED'],
    [[link.provider, link.repository, link.tag ?? link.branch, await urlOf(link.path), pollOf(link)]],
  );
}

export async function unlinkWebhook(options: Options): Promise<void> {
  const app = await appName(options.app);
  await request('DELETE', `/apps/${app}/webhook`);
  console.error(`${app} is not linked any more; what is live stays`);
}

export async function rotateSecret(options: Options): Promise<void> {
  const made = await call<typeof madeWebhookShape>(
    'POST',
    `/apps/${await appName(options.app)}/webhook/secret`,
  );
  if (options.json) return printJson(made);
  console.log(made.secret);
  console.error('this is the secret from now on, and shown only now; the one before is good for another day');
}

export async function listDeliveries(options: Options): Promise<void> {
  const app = await appName(options.app);
  const { deliveries } = await call<typeof deliveriesShape>('GET', `/apps/${app}/webhook/deliveries`);
  if (options.json) return printJson(deliveries);
  printTable(
    ['ID', 'RECEIVED', 'BRANCH OR IMAGE', 'COMMIT', 'VERDICT'],
    deliveries.map(({ id, receivedAt, branch, commit, image, state, reason, number }) => [
      id,
      `${receivedAt.slice(0, 19).replace('T', ' ')} UTC`,
      image?.reference ?? branch ?? '-',
      image?.digest?.slice(0, 19) ?? commit?.slice(0, 7) ?? '-',
      [state, number === null ? '' : `as #${number}`, reason ?? ''].filter((text) => text !== '').join(' '),
    ]),
  );
}

export async function redeliver(id: string, options: Options): Promise<void> {
  const app = await appName(options.app);
  const path = `/apps/${app}/webhook/deliveries/${encodeURIComponent(id)}/redeliver`;
  const answer = await call<typeof deliveryAnswerShape>('POST', path);
  if (options.json) return printJson(answer);
  const number = answer.number === undefined ? '' : ` as deploy #${answer.number}: gantry logs --app ${app}`;
  console.log(`${answer.state}${number}${answer.reason === undefined ? '' : `: ${answer.reason}`}`);
}

function pollOf({ poll }: z.infer<typeof webhookShape>): string {
  if (poll === null) return 'not polled';
  const every = `polled every ${poll.everySeconds % 60 === 0 ? `${poll.everySeconds / 60}m` : `${poll.everySeconds}s`}`;
  if (poll.at === null) return every;
  const time = (at: string): string => `${at.slice(0, 19).replace('T', ' ')} UTC`;
  return poll.problem === null
    ? `${every}, last at ${time(poll.at)}`
    : `${every}, failing since ${time(poll.since ?? poll.at)}: ${poll.problem}`;
}

function secondsIn(text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,5})(s|m|h)$/.exec(text) ?? [];
  const seconds = Number(number) * ({ s: 1, m: 60, h: 3600 }[unit] ?? 0);
  if (seconds < 5 || seconds > 86_400)
    throw new UsageError(`"${text}" is no time between polls: write 5m, from 5s to 24h`);
  return seconds;
}

/** Never an argument: those are seen by every user of a machine. */
async function readStatusToken(): Promise<string> {
  const token = process.env.GANTRY_FORGE_TOKEN?.trim() || (await readSecret('token of the forge: '));
  if (token === '') throw new UsageError('no token: set GANTRY_FORGE_TOKEN, or pass it on standard input');
  return token;
}

async function urlOf(path: string): Promise<string> {
  return (await findServer()).url + path;
}

async function readKey(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`the key cannot be read: ${String(error)}`);
  });
}
