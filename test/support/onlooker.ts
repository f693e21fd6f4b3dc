import { isDeepStrictEqual } from 'node:util';
import { Webhook } from 'standardwebhooks';
import { startReceiver } from './receiver.ts';
import type { Rig } from './rig.ts';

type Event = { type: string; data: Record<string, unknown> & { app: string; number: number } };

/** Is told of every deployment of a rig, which has to allow 127.0.0.0/8. */
export class Onlooker {
  readonly #receiver: Awaited<ReturnType<typeof startReceiver>>;
  readonly #secret: string;

  private constructor(receiver: Awaited<ReturnType<typeof startReceiver>>, secret: string) {
    this.#receiver = receiver;
    this.#secret = secret;
  }

  static async of(rig: Rig): Promise<Onlooker> {
    const receiver = await startReceiver();
    const { stdout } = await rig.gantry('webhooks', 'out', 'add', receiver.url, '--all-apps', '--json');
    return new Onlooker(receiver, (JSON.parse(stdout) as { secret: string }).secret);
  }

  /** What it was told of the end of a deployment; what is delivered again counts once. */
  endsOf(app: string, number: number): Event[] {
    const events = new Map<unknown, Event>();
    for (const { body, headers } of this.#receiver.received) {
      const { type, data } = JSON.parse(body) as Event;
      if (data.app !== app || data.number !== number) continue;
      if (type === 'deploy.queued' || type === 'deploy.started') continue;
      const verified = new Webhook(this.#secret).verify(body, headers as Record<string, string>) as Event;
      events.set(headers['webhook-id'], verified);
    }
    return [...events.values()];
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#receiver[Symbol.asyncDispose]();
  }
}

type Counts = ReadonlyMap<string, number>;

/** What the metrics say: how many deployments ended since the server started, by result and trigger. */
export async function countedDeploys(rig: Rig): Promise<Counts> {
  const response = await fetch(`http://127.0.0.1:${rig.port}/metrics`, {
    headers: { authorization: `Bearer ${await rig.token}` },
  });
  const lines = (await response.text())
    .split('\n')
    .filter((line) => line.startsWith('gantry_deploys_total{'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

/** Whether these were added since then, once each, and nothing else. */
export async function areCounted(
  rig: Rig,
  before: Counts,
  ended: readonly { state: string; trigger: string }[],
): Promise<boolean> {
  const expected = new Map(before);
  for (const { state, trigger } of ended) {
    const key = `gantry_deploys_total{result="${state}",trigger="${trigger}"}`;
    expected.set(key, (expected.get(key) ?? 0) + 1);
  }
  return isDeepStrictEqual(await countedDeploys(rig), expected);
}
