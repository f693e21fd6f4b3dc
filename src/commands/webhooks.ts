import { readFile } from 'node:fs/promises';
import type {
  deliveriesShape,
  deliveryAnswerShape,
  madeWebhookShape,
  webhookShape,
} from '../api/contract.ts';
import { appName, call, findServer, request } from './api-client.ts';
import { ApiError, UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';

type Options = { app?: string; json?: boolean };
type Link = Options & { provider: string; repo: string; branch: string; key?: string };

/** The app is made unless there is one, as with a first push. */
export async function linkWebhook(given: string | undefined, options: Link): Promise<void> {
  const app = await appName(given ?? options.app);
  const sshKey = options.key === undefined ? undefined : await readKey(options.key);
  const link = () =>
    call<typeof madeWebhookShape>('PUT', `/apps/${app}/webhook`, {
      provider: options.provider,
      repository: options.repo,
      branch: options.branch,
      ...(sshKey !== undefined && { sshKey }),
    });
  const made = await link().catch(async (error: unknown) => {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await call('POST', '/apps', { name: decodeURIComponent(app) });
    return link();
  });
  if (options.json) return printJson({ ...made, url: await urlOf(made.path) });
  console.error(`pushes to ${made.branch} of ${made.repository} are deployed; tell ${made.provider}:`);
  console.log(`URL     ${await urlOf(made.path)}\nsecret  ${made.secret}`);
  console.error('as content type JSON, for push events. The secret is shown only now.');
}

export async function showWebhook(options: Options): Promise<void> {
  const link = await call<typeof webhookShape>('GET', `/apps/${await appName(options.app)}/webhook`);
  if (options.json) return printJson({ ...link, url: await urlOf(link.path) });
  printTable(
    ['PROVIDER', 'REPOSITORY', 'BRANCH', 'URL'],
    [[link.provider, link.repository, link.branch, await urlOf(link.path)]],
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
    ['ID', 'RECEIVED', 'BRANCH', 'COMMIT', 'VERDICT'],
    deliveries.map(({ id, receivedAt, branch, commit, state, reason, number }) => [
      id,
      `${receivedAt.slice(0, 19).replace('T', ' ')} UTC`,
      branch ?? '-',
      commit?.slice(0, 7) ?? '-',
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

async function urlOf(path: string): Promise<string> {
  return (await findServer()).url + path;
}

async function readKey(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`the key cannot be read: ${String(error)}`);
  });
}
