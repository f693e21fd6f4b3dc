import type { IncomingMessage, ServerResponse } from 'node:http';
import { Git } from 'node-git-server';
import type { Refusal } from '../access/authenticator.ts';
import { type Account, canDeploy } from '../domain/account.ts';
import { type AppName, parseAppName, problemWithAppName } from '../domain/app.ts';
import type { RecordAudit } from '../domain/audit.ts';
import { type Credentials, parseCredentials } from '../domain/credentials.ts';
import { safeText } from '../domain/safe-text.ts';
import { UserError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { advertise } from './git-advertisement.ts';
import { gitBody } from './git-body.ts';
import { type ExchangeLimits, GitExchange } from './git-exchange.ts';
import { GitRefusal, sendRefusal } from './git-refusal.ts';
import { type GitRoute, parseGitRoute } from './git-route.ts';
import type { PushRegistry } from './push-registry.ts';
import { refusePush } from './refused-push.ts';
import type { Repositories } from './repositories.ts';
import { type Release, TransferSlots } from './transfer-slots.ts';

type Authenticate = (credentials: Credentials | undefined, address: string) => Promise<Account | Refusal>;

export type GitEndpointOptions = {
  repositories: Repositories;
  authenticate: Authenticate;
  /** Where a request comes from. */
  addressOf: (req: IncomingMessage) => string;
  recordAudit: RecordAudit;
  may: (account: Account, app: AppName, action: 'read' | 'deploy') => boolean;
  /** Throws a UserError with a text for the pusher while no push can be accepted. */
  ensureReady: (app: AppName) => Promise<void>;
  appExists: (app: AppName) => Promise<boolean>;
  pushes: PushRegistry;
  /** Told how large every whole push was. */
  onPushed: (bytes: number) => void;
  logger: Logger;
  limits?: Partial<GitLimits>;
};

export type GitLimits = Omit<ExchangeLimits, 'maxBodyBytes'> & {
  maxPushBytes: number;
  maxFetchRequestBytes: number;
  /** Running git processes; a push that is only being deployed does not count. */
  transfers: number;
  transfersPerAccount: number;
  /** Requests that may wait for one of them. */
  waitingTransfers: number;
};

/**
 * For http.createServer. Node's own limit on a request would cut uploads of more than five minutes; idle ones are ended
 * by the endpoint. Keep-alive probes find out about clients that lost power.
 */
export const gitServerOptions = {
  requestTimeout: 0,
  headersTimeout: 20_000,
  keepAlive: true,
  keepAliveInitialDelay: 30_000,
} as const;

export const defaultGitLimits: GitLimits = {
  bodyIdleMs: 90_000,
  stallMs: 600_000,
  terminateAfterMs: 10_000,
  maxPushBytes: 512 * 1024 * 1024,
  maxFetchRequestBytes: 32 * 1024 * 1024,
  transfers: 32,
  transfersPerAccount: 16,
  waitingTransfers: 2000,
};

/** Before a large push git asks with an empty one whether it may. */
const probeBytes = 4;

type Admitted = { route: GitRoute; app: AppName; account: Account; address: string };

/**
 * git's smart HTTP protocol, mounted before everything else on a plain http.Server.
 * Both requests of a push are checked in full: the second one can be sent without the first.
 */
export class GitEndpoint {
  readonly #options: GitEndpointOptions;
  readonly #limits: GitLimits;
  readonly #slots: TransferSlots;
  readonly #package: Git;
  readonly #exchanges = new Map<GitExchange, Promise<void>>();
  #isClosing = false;

  constructor(options: GitEndpointOptions) {
    this.#options = options;
    this.#limits = { ...defaultGitLimits, ...options.limits };
    this.#slots = new TransferSlots({
      total: this.#limits.transfers,
      perAccount: this.#limits.transfersPerAccount,
      waiting: this.#limits.waitingTransfers,
    });
    this.#package = new Git((folder) => `${options.repositories.root}/${folder ?? ''}`, {
      autoCreate: false,
    });
    // Typed for its own events only, but it is an emitter, and one without this listener ends the process.
    (this.#package as NodeJS.EventEmitter).on('error', (error: Error) => {
      options.logger.error({ err: error }, 'git did not start');
    });
  }

  /** Whether a request is git's. Everything else belongs to somebody else. */
  handles(req: IncomingMessage): boolean {
    return parseGitRoute(req.url ?? '') !== undefined;
  }

  handle(req: IncomingMessage, res: ServerResponse): void {
    req.on('error', () => {});
    res.on('error', () => {});
    // A build may be silent for as long as it likes.
    req.socket.setTimeout(0);
    void this.#serve(req, res).catch((error: unknown) => this.#refuse(req, res, this.#refusalFor(error)));
  }

  /** Waits a moment for running transfers, then cuts them off. Close the HookSocket first: it ends pushes politely. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    const running = Promise.all(this.#exchanges.values());
    const timer = setTimeout(() => {
      for (const exchange of this.#exchanges.keys()) exchange.abort();
    }, graceMs);
    await running;
    clearTimeout(timer);
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const route = parseGitRoute(req.url ?? '');
    if (!route) throw new GitRefusal(404, 'not found');
    if (this.#isClosing) throw new GitRefusal(503, 'the server is restarting; try again in a minute');
    if (req.method !== route.method) throw new GitRefusal(405, 'method not allowed', { Allow: route.method });
    const app = parseAppName(route.name);
    if (!app) {
      const problem = problemWithAppName(route.name);
      throw new GitRefusal(404, `"${safeText(route.name)}" cannot be an app: ${problem}`);
    }

    const address = this.#options.addressOf(req);
    const account = await this.#authenticate(req, address);
    const admitted = { route, app, account, address };
    await this.#authorise(admitted);
    const closed = closing(res);
    const release = await this.#slots.acquire(account.tokenId, closed);
    if (closed.aborted) return release?.();
    if (!release) {
      throw new GitRefusal(503, 'the server is busy; try again in a minute', { 'Retry-After': '60' });
    }
    try {
      await (route.method === 'GET'
        ? this.#advertise(admitted, req, res)
        : this.#exchange(admitted, req, res, release));
    } finally {
      release();
    }
  }

  async #authenticate(req: IncomingMessage, address: string): Promise<Account> {
    const answer = await this.#options.authenticate(parseCredentials(req.headers.authorization), address);
    if (!('refused' in answer)) return answer;
    const { status, refused, hint, retryAfter } = answer;
    throw new GitRefusal(status, `${safeText(refused)}\nhint: ${hint}`, {
      ...(status === 401 && { 'WWW-Authenticate': 'Basic realm="gantry", charset="UTF-8"' }),
      ...(retryAfter !== undefined && { 'Retry-After': String(retryAfter) }),
    });
  }

  async #authorise({ route, app, account, address }: Admitted): Promise<void> {
    const { may, appExists, repositories, ensureReady, recordAudit } = this.#options;
    const isPush = route.service === 'receive-pack';
    const exists = await appExists(app);
    const isKnown = exists && (may(account, app, 'read') || may(account, app, 'deploy'));
    const isAllowed =
      may(account, app, isPush ? 'deploy' : 'read') && (exists || (isPush && canDeploy(account, app)));
    if (!isAllowed) {
      const { tokenId, name: by } = account;
      if (isPush)
        await recordAudit({ by, tokenId, address, app, action: 'push', what: '', result: 'FORBIDDEN' });
      // Who may not know that an app exists reads the same as about one that does not.
      if (!isKnown) throw new GitRefusal(404, `app "${app}" not found or not yours`);
      throw new GitRefusal(
        403,
        `token "${safeText(account.name)}" may not ${isPush ? 'deploy to' : 'read'} "${app}"`,
      );
    }
    if (route.method === 'POST') {
      if (!(await repositories.exists(app))) throw new GitRefusal(404, `app "${app}" not found or not yours`);
      return;
    }
    if (isPush) await ensureReady(app);
    await repositories.create(app);
  }

  async #advertise({ route, app }: Admitted, req: IncomingMessage, res: ServerResponse): Promise<void> {
    await advertise(this.#package, {
      app,
      service: route.service,
      res,
      isVersion2: speaksVersion2(req, route),
      stallMs: this.#limits.stallMs,
    });
  }

  async #exchange(
    { route, app, account, address }: Admitted,
    req: IncomingMessage,
    res: ServerResponse,
    release: Release,
  ): Promise<void> {
    const { pushes, onPushed, logger, repositories } = this.#options;
    const isPush = route.service === 'receive-pack';
    const context = { app, account, address, isWatched: () => !res.destroyed, uploaded: release };
    const exchange = new GitExchange({
      repositoryPath: repositories.path(app),
      service: route.service,
      isVersion2: speaksVersion2(req, route),
      req,
      res,
      body: gitBody(req, route.service),
      // A push that is too large must reach git, which says so: its own limit is the lower one.
      limits: {
        ...this.#limits,
        maxBodyBytes: isPush ? 2 * this.#limits.maxPushBytes : this.#limits.maxFetchRequestBytes,
      },
      logger: logger.child({ app, account: account.name }),
      onStart: (pid) => isPush && pushes.add(pid, context),
      onExit: (pid) => pushes.remove(pid),
      onBody: (bytes) => isPush && bytes > probeBytes && onPushed(bytes),
    });
    const run = exchange.run();
    this.#exchanges.set(exchange, run);
    await run.finally(() => this.#exchanges.delete(exchange));
  }

  async #refuse(req: IncomingMessage, res: ServerResponse, refusal: GitRefusal): Promise<void> {
    const isPush = req.method === 'POST' && parseGitRoute(req.url ?? '')?.service === 'receive-pack';
    // What the pusher can mend is told by its status: git asks for other credentials, say.
    if (isPush && refusal.status >= 500) await refusePush(req, res, refusal, this.#limits);
    else sendRefusal(req, res, refusal);
  }

  #refusalFor(error: unknown): GitRefusal {
    if (error instanceof GitRefusal) return error;
    if (error instanceof UserError) {
      return new GitRefusal(
        error.status,
        error.hint ? `${error.message}\nhint: ${error.hint}` : error.message,
      );
    }
    this.#options.logger.error({ err: error }, 'git request failed');
    return new GitRefusal(500, 'internal error; the log of the server says more');
  }
}

/** Never for receive-pack, which does not know version 2. */
function speaksVersion2(req: IncomingMessage, route: GitRoute): boolean {
  const header = String(req.headers['git-protocol'] ?? '');
  return route.service === 'upload-pack' && header.split(':').includes('version=2');
}

function closing(res: ServerResponse): AbortSignal {
  const closed = new AbortController();
  if (res.destroyed) closed.abort();
  else res.once('close', () => closed.abort());
  return closed.signal;
}
