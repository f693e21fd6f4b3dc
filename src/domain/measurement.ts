/** What a worker does to keep what runs as it should be, whatever was lost or left before. */
export const reconcileActions = [
  'repair_queue',
  'start_container',
  'remove_container',
  'remove_network',
  'remove_volume',
  'remove_checkout',
  'move_endpoint',
] as const;
export type ReconcileAction = (typeof reconcileActions)[number];

/** What only a worker can count and the server tells, by its name there. */
type Measured =
  | 'deploy_step_duration_seconds'
  | 'container_restarts_total'
  | 'worker_heartbeat_timestamp_seconds'
  | 'reconcile_actions_total'
  | 'log_lines_dropped_total'
  | 'disk_free_bytes';

export type Measurement = {
  name: Measured;
  value: number;
  /** The step, the action or the area, where there is one. */
  label?: string;
};

/** Told once: one that is lost is missing in a number, and nothing else. */
export type Measure = (measurement: Measurement) => void;
