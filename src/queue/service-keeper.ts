import { randomUUID } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { backUpService, dropVolume, fillVolume } from '../deploy/copy-service.ts';
import { keepService, removeService, type ServiceTools, type Turn } from '../deploy/keep-service.ts';
import type { Problem } from '../domain/deployment.ts';
import type { ManagedService, ServiceCopy, ServiceState } from '../domain/managed-service.ts';
import { maskValues } from '../domain/mask.ts';
import { safeText } from '../domain/safe-text.ts';
import type { Service, ServiceName } from '../domain/service.ts';
import { messageOf } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { StoreEvents } from '../store/store-events.ts';
import type { TurnStore } from '../store/turn-store.ts';

type Look = {
  again: boolean;
  done: Promise<void>;
  /** What it is being made, where that can be given up. */
  wanted: string | undefined;
  change: AbortController;
};

type Options = {
  services: ServiceStore;
  tools: ServiceTools;
  /** Folder of the files that volumes are copied into and from. */
  copies: string;
  /** Throws when what was read of the store may not be true. */
  assertOwnStore: () => Promise<void>;
  turnOf: (service: ServiceName) => TurnStore;
  events: StoreEvents;
  logger: Logger;
};

const lookEveryMs = 10_000;
const turnMs = 6000;
const renewMs = 1500;
/** A service that does not start is not tried at every look. */
const tryAgainMs = 60_000;
/** A backup that nobody fetches. */
const keepCopiesMs = 3_600_000;

/**
 * Makes the managed services on the engine what they are in the store: started, changed or removed. Of several workers one
 * is at a service at a time, and the next goes on from wherever it died.
 */
export class ServiceKeeper {
  readonly #options: Options;
  readonly #stop = new AbortController();
  /** Services somebody here is at; `again`: something happened since. */
  readonly #busy = new Map<ServiceName, Look>();
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

  /** What failed may have done so because the engine was about to go away; now it is back. */
  engineIsBack(): void {
    this.#failedAt.clear();
    void this.#lookAtAll();
  }

  async #lookAtAll(): Promise<void> {
    const { services, copies, logger } = this.#options;
    try {
      const all = await services.list();
      for (const { name, managed } of all) if (managed) this.#look(name);
      const inWork = all.flatMap(({ copy }) => (copy?.state === 'under way' ? [`${copy.id}.tar`] : []));
      for (const file of await readdir(copies)) {
        const path = join(copies, file);
        const isOld = Date.now() - (await stat(path)).mtimeMs > keepCopiesMs;
        if (isOld && !inWork.includes(file)) await rm(path, { force: true });
      }
    } catch (err) {
      logger.debug({ err }, 'services could not be looked at; it is tried again');
    }
  }

  #look(name: ServiceName): void {
    const busy = this.#busy.get(name);
    if (busy) {
      busy.again = true;
      void this.#giveUpInVain(name, busy).catch(() => {}); // it ends by itself
      return;
    }
    if (this.#stop.signal.aborted) return;
    const look: Look = {
      again: false,
      done: Promise.resolve(),
      wanted: undefined,
      change: new AbortController(),
    };
    this.#busy.set(name, look);
    look.done = this.#inTurn(name, look)
      .catch((err: unknown) => {
        if (!this.#stop.signal.aborted && !look.change.signal.aborted)
          this.#options.logger.warn({ err, service: name }, 'the service could not be looked after');
      })
      .finally(() => {
        this.#busy.delete(name);
        if (look.change.signal.aborted) this.#look(name);
      });
  }

  /** Nobody waits for the start of a service that is to go, or to be another. */
  async #giveUpInVain(name: ServiceName, look: Look): Promise<void> {
    const service = await this.#options.services.get(name);
    if (look.wanted === undefined || look.wanted === wantedOf(service)) return;
    look.change.abort(new Error('something else is wanted'));
  }

  async #inTurn(name: ServiceName, look: Look): Promise<void> {
    const turn = this.#options.turnOf(name);
    const owner = randomUUID();
    const lost = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, lost.signal, look.change.signal]);
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
        await this.#settle(name, look, { signal, guard });
      } while (look.again && !signal.aborted);
    } finally {
      clearInterval(renewing);
      await turn.letGo(owner).catch(() => {});
    }
  }

  async #settle(name: ServiceName, look: Look, turn: Turn): Promise<void> {
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
    if (service.copy?.state === 'under way') return this.#copy(service, service.managed, service.copy, turn);
    const { state } = service.status;
    const failedAt = this.#failedAt.get(name);
    const isTooSoon = failedAt !== undefined && performance.now() - failedAt < tryAgainMs;
    if (state === 'failed' && isTooSoon) return;
    look.wanted = wantedOf(service);
    try {
      await this.#keep(service, service.managed, state === 'ready', turn);
    } finally {
      look.wanted = undefined;
    }
  }

  async #keep(
    service: Service,
    managed: ManagedService,
    isReady: boolean,
    turn: Turn,
  ): Promise<string | undefined> {
    const { services, tools, assertOwnStore } = this.#options;
    const { name } = service;
    const env = await services.env(service);
    const apps = (await services.bindings(name)).map(({ app }) => app);
    await assertOwnStore();
    const problem = await keepService(tools, { name, managed, env, apps, isReady }, turn);
    turn.guard();
    if (problem) this.#failedAt.set(name, performance.now());
    else this.#failedAt.delete(name);
    const reason = problem && explain(problem, maskValues(env));
    await this.#tell(service, reason === undefined ? { state: 'ready' } : { state: 'failed', reason });
    return reason;
  }

  async #copy(service: Service, managed: ManagedService, copy: ServiceCopy, turn: Turn): Promise<void> {
    const { services, tools, copies, logger } = this.#options;
    const file = join(copies, `${copy.id}.tar`);
    const carryOut = async (): Promise<string | undefined> => {
      if (copy.kind === 'restore') return this.#restore(service, managed, copy, file, turn);
      const problem = await backUpService(tools, { name: service.name, managed }, file, turn);
      await this.#keep(service, managed, false, turn);
      return problem?.reason;
    };
    // Whatever it is, it ends: nothing else can be done with the service meanwhile.
    const reason = await carryOut().catch((err: unknown) => {
      turn.guard();
      logger.warn({ err, service: service.name, copy: copy.kind }, 'service could not be copied');
      return safeText(messageOf(err), 200);
    });
    if (copy.kind === 'restore') await rm(file, { force: true });
    turn.guard();
    await services.setCopy(service, { ...copy, state: reason === undefined ? 'done' : 'failed', reason });
    logger.info({ service: service.name, copy: copy.kind, reason }, 'service copied');
  }

  /** The data before are there until what was restored has started with the new ones. */
  async #restore(
    service: Service,
    managed: ManagedService,
    { volume: before }: ServiceCopy,
    file: string,
    turn: Turn,
  ): Promise<string | undefined> {
    const { services, tools } = this.#options;
    const { name } = service;
    const restored = { ...managed, volume: before + 1 };
    const old = { ...managed, volume: before };
    // Else a worker died after it.
    if (managed.volume === before) {
      const problem = await fillVolume(tools, { name, managed }, file, restored.volume, turn);
      if (problem) return problem.reason;
      turn.guard();
      await services.change(service, { managed: restored });
    }
    const reason = await this.#keep(service, restored, false, turn);
    if (reason === undefined) {
      await dropVolume(tools, name, before);
      return undefined;
    }
    await services.change(service, { managed: old });
    await this.#keep(service, old, false, turn);
    await dropVolume(tools, name, restored.volume);
    return `it did not start with them, and has the data of before again: ${reason}`;
  }

  async #tell(service: Service, status: ServiceState): Promise<void> {
    const { state, reason } = (await this.#options.services.get(service.name))?.status ?? {};
    if (state === status.state && reason === status.reason) return;
    await this.#options.services.setStatus(service, status);
    this.#options.logger.info({ service: service.name, ...status }, 'service changed');
  }
}

function wantedOf(service: Service | undefined): string {
  return JSON.stringify([service?.managed, service?.status.state === 'deleting']);
}

function explain({ reason, lastLines = [] }: Problem, mask: (text: string) => string): string {
  const last = lastLines.filter((line) => line.trim() !== '').at(-1);
  return safeText(last === undefined ? reason : `${reason}; it said last: ${mask(last)}`, 400);
}
