import type { AppName } from '../domain/app.ts';
import type { Endpoint, Route } from '../domain/route.ts';

/** The front door: sends requests for host names to containers. */
export interface Router {
  /**
   * Makes the router do what `routes` say, all of them, and resolves when every new request follows them.
   * Calls are serialised by the router; calling it twice with the same routes does nothing the second time.
   * An endpoint that is in no route any more is drained and its place freed.
   */
  apply(routes: readonly Route[]): Promise<void>;

  /**
   * Waits until a draining endpoint has nothing in flight in any router process, at most `limitMs`; then cuts what is
   * left. After it resolves the router never dials the address again until a route names it.
   */
  drain(app: AppName, endpoint: Endpoint, limitMs: number, signal: AbortSignal): Promise<'idle' | 'cut'>;

  /**
   * How many requests of an app got no whole answer so far, by process of the router: a process takes its count with it
   * when it ends.
   */
  failures(app: AppName): Promise<ReadonlyMap<number, number>>;
}
