import { randomUUID } from 'node:crypto';
import { keepService, removeService, type ServiceTools } from '../deploy/keep-service.ts';
import type { Problem } from '../domain/deployment.ts';
import type { ServiceState } from '../domain/managed-service.ts';
import { maskValues } from '../domain/mask.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Service, ServiceName } from '../domain/service.ts';
import type { Logger } from '../logger.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TurnStore } from '../store/turn-store.ts';

type Options = {
  services: ServiceStore;
  tools: ServiceTools;
  turnOf: (service: ServiceName) => TurnStore;
  events: StoreEvents;
  logger: Logger;
};

const lookEveryMs = 5000;
const turnMs = 6000;
const renewMs = 1500;
/** A service that does not start is not tried at every look. */
const tryAgainMs = 60_000;

/**
 * Makes the managed services on the engine what they are in the store: started, changed or removed. Of several workers one
 * is at a service at a time, and the next goes on from wherever it died.
 */
export class ServiceKeeper {
  readonly #options: Options;
  readonly #stop = new AbortController();
  /** Services somebody here is at; `again`: something happened since. */
  readonly #busy = new Map<ServiceName, { again: boolean; done: Promise<void> }>();
  readonly #failedAt = new Map<ServiceName, number>();
  #stopListening = (): void => {};
  #timer: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    this.#stopListening = this.#options.events.listen((event) => {
      if (event.kind === 'service') this.#look(event.service);
    });
    this.#timer = setInterval(() => void this.#lookAtAll(), lookEveryMs);
    void this.#lookAtAll();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopListening();
    this.#stop.abort();
    await Promise.all([...this.#busy.values()].map(({ done }) => done));
  }

  async #lookAtAll(): Promise<void> {
    const { services, logger } = this.#options;
    try {
      for (const { name, managed } of await services.list()) if (managed) this.#look(name);
    } catch (err) {
      logger.debug({ err }, 'services could not be looked at; it is tried again');
    }
  }

  #look(name: ServiceName): void {
    const busy = this.#busy.get(name);
    if (busy) {
      busy.again = true;
      return;
    }
    if (this.#stop.signal.aborted) return;
    const look = { again: false, done: Promise.resolve() };
    this.#busy.set(name, look);
    look.done = this.#inTurn(name, look)
      .catch((err: unknown) => {
        if (!this.#stop.signal.aborted)
          this.#options.logger.warn({ err, service: name }, 'the service could not be looked after');
      })
      .finally(() => this.#busy.delete(name));
  }

  async #inTurn(name: ServiceName, look: { again: boolean }): Promise<void> {
    const turn = this.#options.turnOf(name);
    const owner = randomUUID();
    const lost = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, lost.signal]);
    let validUntil = performance.now() + turnMs;
    if (!(await turn.hold(owner, turnMs))) return;
    const renewing = setInterval(() => {
      const asked = performance.now();
      turn.hold(owner, turnMs).then(
        (isMine) => (isMine ? (validUntil = asked + turnMs) : lost.abort(new Error('the turn is over'))),
        () => {}, // its time ends by itself
      );
    }, renewMs);
    const guard = (): void => {
      if (performance.now() >= validUntil) lost.abort(new Error('the turn is over'));
      signal.throwIfAborted();
    };
    try {
      do {
        look.again = false;
        await this.#settle(name, { signal, guard });
      } while (look.again && !signal.aborted);
    } finally {
      clearInterval(renewing);
      await turn.letGo(owner).catch(() => {});
    }
  }

  async #settle(name: ServiceName, turn: { signal: AbortSignal; guard: () => void }): Promise<void> {
    const { services, tools, logger } = this.#options;
    const service = await services.get(name);
    if (!service?.managed) return;
    if (service.status.state === 'deleting') {
      await removeService(tools, name);
      turn.guard();
      await services.forget(service);
      this.#failedAt.delete(name);
      logger.info({ service: name }, 'service deleted');
      return;
    }
    const { state } = service.status;
    const failedAt = this.#failedAt.get(name);
    const isTooSoon = failedAt !== undefined && performance.now() - failedAt < tryAgainMs;
    if (state === 'failed' && isTooSoon) return;
    const env = await services.env(service);
    const problem = await keepService(
      tools,
      {
        name,
        managed: service.managed,
        env,
        apps: (await services.bindings(name)).map(({ app }) => app),
        isReady: state === 'ready',
      },
      turn,
    );
    turn.guard();
    if (problem) this.#failedAt.set(name, performance.now());
    else this.#failedAt.delete(name);
    await this.#tell(service, problem && { state: 'failed', reason: explain(problem, maskValues(env)) });
  }

  async #tell(service: Service, status: ServiceState = { state: 'ready' }): Promise<void> {
    const { state, reason } = service.status;
    if (state === status.state && reason === status.reason) return;
    await this.#options.services.setStatus(service, status);
    this.#options.logger.info({ service: service.name, ...status }, 'service changed');
  }
}

function explain({ reason, lastLines = [] }: Problem, mask: (text: string) => string): string {
  const last = lastLines.filter((line) => line.trim() !== '').at(-1);
  return safeText(last === undefined ? reason : `${reason}; it said last: ${mask(last)}`, 400);
}
