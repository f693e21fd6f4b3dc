import { createHmac } from 'node:crypto';
import { shortSha } from '../domain/app.ts';
import { showImageSource } from '../domain/image-reference.ts';
import type { EventPayload, WebhookFormat } from '../domain/outgoing-webhook.ts';
import { safeText } from '../domain/safe-text.ts';

/** The headers of https://www.standardwebhooks.com: one signature for each secret that is good. */
export function signatureHeaders(
  id: string,
  body: string,
  secrets: readonly string[],
  now: Date,
): Record<string, string> {
  const timestamp = String(Math.floor(now.getTime() / 1000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}

/** What is sent, the same bytes at every attempt. */
export function bodyOf(payload: EventPayload, format: Exclude<WebhookFormat, 'status'>): string {
  switch (format) {
    case 'json':
      return JSON.stringify(payload);
    case 'slack':
      // mrkdwn: nothing of a commit's subject is markup, nor is it a mention.
      return JSON.stringify({ text: sentence(payload, slackText), mrkdwn: false, unfurl_links: false });
    case 'mattermost':
      return JSON.stringify({ text: sentence(payload, mattermostText) });
    case 'discord':
      return JSON.stringify({
        content: sentence(payload, discordText),
        allowed_mentions: { parse: [] },
        flags: suppressEmbeds,
      });
  }
}

/** Discord's flag: no preview of links. */
const suppressEmbeds = 4;

/** One or two lines for people; `escape` makes text of strangers harmless where it is shown. */
function sentence({ type, data }: EventPayload, escape: (text: string) => string): string {
  const part = (text: string | null, length: number): string => escape(safeText(text ?? '', length));
  const { app, number, url } = data;
  const image = data.image && showImageSource({ ...data.image, digest: data.image.digest ?? undefined });
  const source = image ? part(image, 300) : data.commit === null ? '' : shortSha(data.commit);
  const what = `${source}${data.subject ? ` "${part(data.subject, 70)}"` : ''}`;
  const name = part(app, 50);
  const deploy = `${name}: deploy #${number}`;
  const by = data.by ? ` by ${part(data.by, 40)}` : '';
  switch (type) {
    case 'deploy.queued':
      return `${deploy} of ${what}${by} is queued`;
    case 'deploy.started':
      return `${deploy} of ${what}${by} has started`;
    case 'deploy.succeeded':
      return `${name} v${number} is live: ${what}${by}\n${url}`;
    case 'deploy.failed':
    case 'deploy.cancelled':
    case 'deploy.superseded':
      return `${deploy} of ${what}${by} ${part(data.reason ?? data.state, 200)}\nlog: gantry logs --app ${name} --deploy ${number}`;
    case 'release.rolled_back':
      return `${name} was rolled back to v${data.rollbackTo}${by}: v${number} is live with ${what}\n${url}`;
    case 'release.crashed':
      return `${name} v${number} ${part(data.reason, 200)}\nlog: gantry logs --app ${name} --deploy ${number}`;
    case 'app.crash_looping':
    case 'app.crashed':
    case 'app.down':
      return `${name}: ${part(data.reason, 200)}\nlog: gantry logs --app ${name}`;
    case 'app.recovered':
      return `${name} v${number} is up again\n${url}`;
    case 'webhook.test':
      return app === null ? 'Gantry: a test, as asked for' : `${name}: a test of Gantry, as asked for`;
  }
}

function slackText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Nobody is called by what somebody wrote into a commit: the invisible character ends the name before it begins. */
function mattermostText(text: string): string {
  return slackText(markdown(text)).replaceAll('@', '@\u200b');
}

function discordText(text: string): string {
  return markdown(text).replace(/[<>]/g, '\\$&').replaceAll('@', '@\u200b');
}

function markdown(text: string): string {
  return text.replace(/[\\`*_~[\]()#|!-]/g, '\\$&');
}
