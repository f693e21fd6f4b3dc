/** One container of an app as it is now. */
export type Instance = {
  instance: number;
  release: number;
  /** `missing`: it should serve, and is not there. */
  state: 'starting' | 'running' | 'unhealthy' | 'draining' | 'exited' | 'missing';
  /** Why it is unhealthy, has exited or is missing. */
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
