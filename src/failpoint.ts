import type { Step } from './domain/deployment.ts';

const moments = [
  // The server, which takes the push.
  'request',
  'wake',
  'report',
  // The worker, which carries it out.
  'claim',
  'route',
  'drain',
  'end',
  'tidy',
  'resume',
] as const;

/** A moment of a deployment at which tests let something go wrong. */
export type Failpoint = `${'before' | 'after'} ${Step | (typeof moments)[number]}`;

type Handler = (name: Failpoint) => Promise<void>;

const slot = Symbol.for('gantry.failpoint');

/**
 * Nothing but a name, as in etcd: whoever runs the program normally has no handler. Tests load one into a process
 * before anything else (`node --import`), and it stops there while they break something.
 */
export async function failpoint(name: Failpoint): Promise<void> {
  const { [slot]: handler } = globalThis as { [slot]?: Handler };
  await handler?.(name);
}
