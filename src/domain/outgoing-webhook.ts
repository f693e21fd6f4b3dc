import type { AppName } from './app.ts';
import type { Deployment, DeploymentState } from './deployment.ts';
import { showRemoteUrl } from './remote-url.ts';
import { noCommit } from './source.ts';

/** What is told to the outside. `webhook.test` comes only when somebody asks for it. */
export const eventTypes = [
  'deploy.queued',
  'deploy.started',
  'deploy.succeeded',
  'deploy.failed',
  'deploy.cancelled',
  'deploy.superseded',
  'release.rolled_back',
  'release.crashed',
  'app.crashed',
  'app.crash_looping',
  'app.down',
  'app.recovered',
  'webhook.test',
] as const;
export type EventType = (typeof eventTypes)[number];

/** The ones a commit has a status for. */
export const statusEvents = eventTypes.filter(
  (type) => type.startsWith('deploy.') || type === 'release.crashed',
);

/** The id of the webhook that is the commit status of a linked app. */
export const statusWebhook = 'status';

/** How it is told. `status`: as the status of the commit, at the forge it came from. */
export const webhookFormats = ['json', 'slack', 'mattermost', 'discord', 'status'] as const;
export type WebhookFormat = (typeof webhookFormats)[number];

/** Whose events a webhook is told: those of one app, or of all of them. */
export type WebhookScope = AppName | typeof allApps;
export const allApps = '*';

export type OutgoingWebhook = {
  id: string;
  scope: WebhookScope;
  /** Where it goes, and a secret in itself for most chats. For a commit status: the repository. */
  url: string;
  format: WebhookFormat;
  events: readonly EventType[];
  /** The forge, for a commit status. */
  provider: string | undefined;
  createdAt: Date;
  createdBy: string;
  /** Why nothing is sent any more. */
  disabled: string | undefined;
};

/** How the containers of an app are, where that is news. */
type HealthNews = 'release crashed' | 'crashed' | 'crash looping' | 'down' | 'recovered';

/** A change of a deployment, as it was written down together with that change; or of how its containers are. */
export type StoredEvent = {
  /** Unique, for ever. */
  id: string;
  app: AppName;
  number: number;
  state: DeploymentState | HealthNews;
  /** What is known about a crash. */
  reason: string | undefined;
  at: Date;
};

/** What is sent: facts that `gantry deploys show` has as well; no variables, no log. */
export type EventPayload = {
  type: EventType;
  timestamp: string;
  data: {
    app: string | null;
    number: number | null;
    state: DeploymentState | null;
    commit: string | null;
    /** What was deployed instead of a commit; the digest is known once the registry was asked. */
    image: { reference: string; digest: string | null } | null;
    subject: string | null;
    branch: string | null;
    trigger: string | null;
    by: string | null;
    step: string | null;
    reason: string | null;
    supersededBy: number | null;
    rollbackTo: number | null;
    /** Where the app answers. */
    url: string | null;
  };
};

type NoticeState = 'waiting' | 'delivered' | 'failed' | 'dropped';

/** One event for one webhook, and what became of it. */
export type Notice = {
  /** The receiver's means to notice a repetition: the same whenever it is sent. */
  id: string;
  scope: WebhookScope;
  webhook: string;
  payload: EventPayload;
  createdAt: Date;
  state: NoticeState;
  attempts: number;
  /** How the last attempt went. */
  verdict: string | undefined;
  /** When it is tried next, while it waits. */
  nextAt: Date | undefined;
};

const typeOfState: Record<StoredEvent['state'], EventType> = {
  queued: 'deploy.queued',
  running: 'deploy.started',
  live: 'deploy.succeeded',
  failed: 'deploy.failed',
  cancelled: 'deploy.cancelled',
  superseded: 'deploy.superseded',
  'release crashed': 'release.crashed',
  crashed: 'app.crashed',
  'crash looping': 'app.crash_looping',
  down: 'app.down',
  recovered: 'app.recovered',
};

/** What a change of a deployment is called outside, with an id for each: a rollback that is live is two events. */
export function eventsOf(
  event: StoredEvent,
  deployment: Deployment,
  url: string,
): { id: string; payload: EventPayload }[] {
  const payload = (type: EventType): EventPayload => payloadOf(type, event, deployment, url);
  const first = { id: event.id, payload: payload(typeOfState[event.state]) };
  if (event.state !== 'live' || deployment.rollbackTo === undefined) return [first];
  return [first, { id: `${event.id}-back`, payload: payload('release.rolled_back') }];
}

/** What is only known at the end is not in an event from before it, however late that is sent. */
function payloadOf(type: EventType, event: StoredEvent, deployment: Deployment, url: string): EventPayload {
  const { commit, pull, subject, branch, trigger, by, step, supersededBy, rollbackTo } = deployment;
  const isOver = event.state !== 'queued' && event.state !== 'running';
  const isHealth = isHealthNews(event.state);
  const reason = isHealth ? event.reason : deployment.reason;
  return {
    type,
    timestamp: event.at.toISOString(),
    data: {
      app: event.app,
      number: event.number,
      state: isHealthNews(event.state) ? deployment.state : event.state,
      commit: commit === noCommit ? null : commit,
      image: pull ? { reference: pull.reference, digest: pull.digest ?? null } : null,
      subject,
      branch,
      trigger,
      by,
      step: isOver ? (step ?? null) : null,
      reason: isOver ? (reason ?? null) : null,
      supersededBy: isOver ? (supersededBy ?? null) : null,
      rollbackTo: rollbackTo ?? null,
      url,
    },
  };
}

function isHealthNews(state: StoredEvent['state']): state is HealthNews {
  return (
    state === 'release crashed' ||
    state === 'crashed' ||
    state === 'crash looping' ||
    state === 'down' ||
    state === 'recovered'
  );
}

const nothing: EventPayload['data'] = {
  app: null,
  number: null,
  state: null,
  commit: null,
  image: null,
  subject: null,
  branch: null,
  trigger: null,
  by: null,
  step: null,
  reason: null,
  supersededBy: null,
  rollbackTo: null,
  url: null,
};

export function testPayload(scope: WebhookScope, url: string | null, at: Date): EventPayload {
  return {
    type: 'webhook.test',
    timestamp: at.toISOString(),
    data: { ...nothing, app: scope === allApps ? null : scope, url },
  };
}

/** For people: of a chat's URL the path is the password. */
export function showWebhookUrl(url: string, format: WebhookFormat): string {
  if (format === 'status') return showRemoteUrl(url);
  const { protocol, host, pathname, search } = new URL(url);
  if (format !== 'json') return `${protocol}//${host}/…`;
  return `${protocol}//${host}${pathname}${search === '' ? '' : '?…'}`;
}

/** Milliseconds until the next attempt after so many; `undefined`: there is none. */
export function retryDelay(
  schedule: readonly number[],
  attempts: number,
  random: number,
): number | undefined {
  const delay = schedule[attempts - 1];
  // Many that failed at once do not come back at once.
  return delay === undefined ? undefined : Math.round(delay * (1 + random / 5));
}
