import type { Redis } from 'ioredis';
import { type AppName, type AppTrouble, showTrouble } from '../domain/app.ts';
import type { GoBack } from '../domain/go-back.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { Endpoint } from '../domain/route.ts';
import { keys } from './keys.ts';
import {
  markStoppedScript,
  moveScript,
  pauseScript,
  resumeScript,
  serveScript,
  stopRouteScript,
  switchBackScript,
  switchScript,
  troubleScript,
} from './route-scripts.ts';

/**
 * What serves an app, changed by the worker that owns it: each change is one Lua script that a worker whose fence is stale
 * cannot pass, and that may run twice with the same input.
 */
export class RouteChanges {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * The commit of a swap: points the route at `endpoints` and records the release, in one step that a worker whose fence
   * is stale cannot pass, nor one that was asked to stop. Returns the version of the route to wait for.
   */
  async switch(
    app: AppName,
    number: number,
    fence: number,
    endpoints: readonly Endpoint[],
    image: ReleaseImage,
    back?: GoBack,
  ): Promise<{ version: number } | { cancelled: string } | 'stale'> {
    const answer = (await this.#redis.eval(
      switchScript,
      7,
      ...switchKeys(app, number),
      fence,
      number,
      JSON.stringify(endpoints),
      image.name,
      new Date().toISOString(),
      app,
      keys.channel,
      image.id ?? '',
      image.bytes ?? '',
      back ? JSON.stringify(back) : '',
    )) as number | string;
    if (typeof answer === 'string') return { cancelled: answer };
    return answer < 0 ? 'stale' : { version: answer };
  }

  /** Takes a switch back that no router followed: the route is again what it was, and this container drains. */
  async switchBack(app: AppName, number: number, fence: number): Promise<void> {
    await this.#redis.eval(switchBackScript, 7, ...switchKeys(app, number), fence, number, app, keys.channel);
  }

  /**
   * Takes what serves out of the route so that it can be stopped. It stays known as paused until a switch replaces it or
   * `resume` brings it back. `undefined`: somebody else owns the app by now.
   */
  async pause(app: AppName, fence: number): Promise<{ version: number } | 'stale'> {
    return this.#changeRoute(pauseScript, app, fence, []);
  }

  /** The paused endpoints that are still there serve again. */
  async resume(
    app: AppName,
    fence: number,
    containers: readonly string[],
  ): Promise<{ version: number } | 'stale'> {
    return this.#changeRoute(resumeScript, app, fence, containers);
  }

  /** These instances of the release that is live serve, and so many more should. */
  async serve(
    app: AppName,
    fence: number,
    serving: { release: number; live: readonly Endpoint[]; missing: number },
  ): Promise<{ version: number } | 'stale'> {
    return this.#changeRoute(serveScript, app, fence, serving);
  }

  /**
   * Why some of what should serve cannot be started; `undefined`: nothing is wrong any more. What is news goes into the
   * outbox.
   */
  async setTrouble(app: AppName, fence: number, trouble: AppTrouble | undefined): Promise<void> {
    await this.#redis.eval(
      troubleScript,
      1,
      keys.app(app),
      fence,
      app,
      keys.channel,
      trouble ? JSON.stringify(trouble) : '',
      trouble ? showTrouble(trouble) : '',
      new Date().toISOString(),
    );
  }

  async #changeRoute(
    script: string,
    app: AppName,
    fence: number,
    change: object,
  ): Promise<{ version: number } | 'stale'> {
    const version = (await this.#redis.eval(
      script,
      3,
      keys.app(app),
      keys.route(app),
      keys.routeVersion,
      fence,
      app,
      keys.channel,
      JSON.stringify(change),
    )) as number;
    return version < 0 ? 'stale' : { version };
  }

  /**
   * Takes everything out of the route of an app that is to be stopped. `not now`: it is not, or a switch has to be brought to
   * its end first.
   */
  async stop(app: AppName, fence: number): Promise<{ version: number } | 'stale' | 'not now'> {
    const version = (await this.#redis.eval(
      stopRouteScript,
      3,
      keys.app(app),
      keys.route(app),
      keys.routeVersion,
      fence,
      app,
      keys.channel,
      keys.deployment(app, 0).slice(0, -1),
    )) as number;
    if (version === -2) return 'not now';
    return version < 0 ? 'stale' : { version };
  }

  /** A container that serves is at another address. Nobody's decision, so it needs no fence. */
  async move(app: AppName, container: string, address: string): Promise<void> {
    const owned = [keys.route(app), keys.routeVersion];
    await this.#redis.eval(moveScript, 2, ...owned, app, keys.channel, container, address);
  }

  /** Nothing of it runs any more. */
  async markStopped(app: AppName, fence: number): Promise<void> {
    await this.#redis.eval(markStoppedScript, 1, keys.app(app), fence);
  }
}

/** What a switch changes, and taking it back. */
function switchKeys(app: AppName, number: number): string[] {
  return [
    keys.app(app),
    keys.deployment(app, number),
    keys.route(app),
    keys.routeVersion,
    keys.release(app, number),
    keys.releases(app),
    keys.env(app),
  ];
}
