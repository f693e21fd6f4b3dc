import type { Problem } from '../domain/deployment.ts';
import type { LogLine } from '../domain/log-line.ts';
import { sanitiseOutput } from '../domain/safe-text.ts';

/** Where the steps of a deployment say what happens. Output of the app is sanitised here, once, for every reader. */
export class DeployLog {
  readonly #write: (...lines: LogLine[]) => Promise<void>;

  constructor(write: (...lines: LogLine[]) => Promise<void>) {
    this.#write = write;
  }

  heading(text: string): Promise<void> {
    return this.#write({ kind: 'heading', text });
  }

  detail(text: string): Promise<void> {
    return this.#write({ kind: 'detail', text });
  }

  warning(text: string): Promise<void> {
    return this.#write({ kind: 'warning', text });
  }

  /** Lines an app's build, hook or container printed. */
  output = (...texts: string[]): Promise<void> =>
    this.#write(...texts.map((text): LogLine => ({ kind: 'output', text: sanitiseOutput(text) })));

  success(text: string): Promise<void> {
    return this.#write({ kind: 'success', text });
  }

  /** The block at the end of a failure: what, why, the last lines, what to do. */
  async failure(what: string, problem: Problem): Promise<void> {
    await this.#write({ kind: 'error', text: what });
    for (const detail of problem.details ?? []) await this.detail(detail);
    if (problem.lastLines && problem.lastLines.length > 0) {
      await this.detail('last lines:');
      for (const line of problem.lastLines.slice(-20)) await this.output(`  ${line}`);
    }
    for (const hint of problem.hints ?? []) await this.#write({ kind: 'hint', text: hint });
  }
}

/** `0.4s`, `21.4s`, `3m05s`. */
export function seconds(ms: number): string {
  if (ms < 99_950) return `${(ms / 1000).toFixed(1)}s`;
  const total = Math.round(ms / 1000);
  return `${Math.floor(total / 60)}m${String(total % 60).padStart(2, '0')}s`;
}
