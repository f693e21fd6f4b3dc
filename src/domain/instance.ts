/** One container of an app as it is now. */
export type Instance = {
  instance: number;
  release: number;
  state: 'starting' | 'running' | 'unhealthy' | 'draining' | 'exited';
  /** Why it is unhealthy or has exited. */
  detail?: string;
  /** Since when it runs, or does not. */
  since?: string;
  /** Bytes. */
  memoryLimit?: number;
  memoryUsed?: number;
  cpus?: number;
  /** How often the engine has started it again. */
  restarts: number;
};
