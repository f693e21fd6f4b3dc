import type { Step } from './deployment.ts';

/** `broken`: it was there when it was asked. `hanging`: it takes connections and does not answer. */
type How = 'absent' | 'broken' | 'hanging';

/** The Docker engine is not there, or does not answer: nothing is wrong with what was asked of it. */
export class EngineAway extends Error {
  readonly how: How;
  /** The step of a deployment in which that showed. */
  step: Step | undefined;

  constructor(how: How, message: string, cause?: unknown) {
    super(message, { cause });
    this.how = how;
    this.name = 'EngineAway';
  }
}
