import type { z } from 'zod';
import type {
  madeOutgoingShape,
  noticeShape,
  noticesShape,
  outgoingListShape,
  outgoingShape,
} from '../api/contract/outgoing-webhooks.ts';
import { appName, call, request } from './api-client.ts';
import { UsageError } from './exit-code.ts';
import { printJson, printTable } from './print.ts';
import { readSecret } from './read-secret.ts';

/** `allApps`: the webhooks that are told about every app, which are for administrators. */
type Options = { app?: string; allApps?: boolean; json?: boolean };

/** A chat's URL is a secret, so it may come from standard input. */
export async function addOutgoing(
  given: string | undefined,
  options: Options & { format: string; events?: string },
): Promise<void> {
  const base = await baseOf(options);
  const url = given === undefined || given === '-' ? await readSecret('URL to send to: ') : given;
  const made = await call<typeof madeOutgoingShape>('POST', base, {
    url,
    format: options.format,
    ...(options.events !== undefined && { events: options.events.split(',').map((type) => type.trim()) }),
  });
  if (options.json) return printJson(made);
  console.error(`${made.id}: events go to ${made.url}; try it: gantry webhooks test ${made.id}`);
  console.log(`secret  ${made.secret}`);
  console.error('they are signed with it as https://www.standardwebhooks.com says. It is shown only now.');
}

export async function listOutgoing(options: Options): Promise<void> {
  const { webhooks } = await call<typeof outgoingListShape>('GET', await baseOf(options));
  if (options.json) return printJson(webhooks);
  printTable(
    ['ID', 'FORMAT', 'URL', 'EVENTS', 'LAST'],
    webhooks.map((webhook) => [
      webhook.id,
      webhook.format,
      webhook.url,
      webhook.events.join(','),
      stateOf(webhook),
    ]),
  );
}

/** In a few words: is it reached? */
export function stateOf({ id, disabled, last }: z.infer<typeof outgoingShape>): string {
  if (disabled !== null) return `disabled: ${disabled}; gantry webhooks out enable ${id}`;
  return last === null ? 'nothing sent yet' : `${last.type} ${verdictOf(last)}`;
}

export async function removeOutgoing(id: string, options: Options): Promise<void> {
  await request('DELETE', await pathOf(id, options));
  console.error(`${id} is told nothing any more`);
}

export async function rotateOutgoing(id: string, options: Options): Promise<void> {
  const made = await call<typeof madeOutgoingShape>('POST', `${await pathOf(id, options)}/secret`);
  if (options.json) return printJson(made);
  console.log(made.secret);
  console.error('shown only now; for a day every event is signed with the one before as well');
}

export async function enableOutgoing(id: string, options: Options): Promise<void> {
  await call<typeof outgoingShape>('POST', `${await pathOf(id, options)}/enable`);
  console.error(`${id} is told about what happens from now on`);
}

/** Without an id: all of them. Fails unless each took it. */
export async function testOutgoing(id: string | undefined, options: Options): Promise<void> {
  const base = await baseOf(options);
  const { webhooks } = await call<typeof outgoingListShape>('GET', base);
  // A commit has no status that is a test.
  const chosen = webhooks.filter((webhook) =>
    id === undefined ? webhook.format !== 'status' : webhook.id === id,
  );
  if (chosen.length === 0 && id === undefined)
    throw new UsageError('there is no outgoing webhook; gantry webhooks out add URL makes one');
  const ids = id === undefined ? chosen.map((webhook) => webhook.id) : [id];
  const tests = await Promise.all(
    ids.map((one) => call<typeof noticeShape>('POST', `${base}/${encodeURIComponent(one)}/test`)),
  );
  const rows = tests.map((test, index) => ({ webhook: ids[index] ?? '', ...test }));
  if (options.json) printJson(rows);
  else
    printTable(
      ['WEBHOOK', 'URL', 'VERDICT'],
      rows.map((test) => [
        test.webhook,
        webhooks.find((webhook) => webhook.id === test.webhook)?.url ?? '',
        verdictOf(test),
      ]),
    );
  const failed = rows.filter(({ state }) => state !== 'delivered').length;
  if (failed > 0) throw new Error(`${failed} of ${rows.length} did not take the test`);
}

export async function listNotices(id: string, options: Options): Promise<void> {
  const { deliveries } = await call<typeof noticesShape>('GET', `${await pathOf(id, options)}/deliveries`);
  if (options.json) return printJson(deliveries);
  printTable(
    ['ID', 'AT', 'EVENT', 'ABOUT', 'VERDICT'],
    deliveries.map((notice) => [
      notice.id,
      timeOf(notice.createdAt),
      notice.type,
      [notice.app ?? '', notice.number === null ? '' : `#${notice.number}`].join(' ').trim(),
      verdictOf(notice),
    ]),
  );
}

export async function redeliverNotice(id: string, delivery: string, options: Options): Promise<void> {
  const path = `${await pathOf(id, options)}/deliveries/${encodeURIComponent(delivery)}/redeliver`;
  const notice = await call<typeof noticeShape>('POST', path);
  if (options.json) return printJson(notice);
  console.error(`it is sent again; how it went: gantry webhooks out deliveries ${id}`);
}

function verdictOf({ state, attempts, verdict, nextAt }: z.infer<typeof noticeShape>): string {
  const tried = attempts > 1 ? ` after ${attempts} attempts` : '';
  const again = nextAt === null ? '' : `, again at ${timeOf(nextAt)}`;
  return `${state}${tried}${verdict === null ? '' : `: ${verdict}`}${again}`;
}

function timeOf(at: string): string {
  return `${at.slice(0, 19).replace('T', ' ')} UTC`;
}

async function baseOf({ app, allApps }: Options): Promise<string> {
  if (!allApps) return `/apps/${await appName(app)}/webhooks/out`;
  if (app !== undefined) throw new UsageError('either --app or --all-apps');
  return '/webhooks/out';
}

async function pathOf(id: string, options: Options): Promise<string> {
  return `${await baseOf(options)}/${encodeURIComponent(id)}`;
}
