/**
 * Aborts with a `TimeoutError` after so many milliseconds; keeps no process alive. Stands in for `AbortSignal.timeout`,
 * which the garbage collector takes away when only `AbortSignal.any` knows of it, and then it never aborts
 * (nodejs/node#57736; Node 20 and 22).
 */
export function timeoutSignal(ms: number): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => controller.abort(new DOMException(`timed out after ${ms} ms`, 'TimeoutError'));
  setTimeout(abort, ms).unref();
  return controller.signal;
}
