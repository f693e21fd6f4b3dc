import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Failpoint } from '../../src/failpoint.ts';

const preload = new URL('../support/failpoints.mjs', import.meta.url);

/** Stops a process of a rig at a failpoint, and lets it go on. The folder is beside the rig's, which may be full. */
export class Failpoints {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gantry-failpoints-'));

  /** For the rig's environment. */
  get env(): Record<string, string> {
    return { NODE_OPTIONS: `--import=${fileURLToPath(preload)}`, FAILPOINTS: this.#folder };
  }

  arm(name: Failpoint): void {
    writeFileSync(this.#path('armed.new'), name);
    renameSync(this.#path('armed.new'), this.#path('armed'));
  }

  /** The process that waits there; `undefined` while none has come to it. */
  get reachedBy(): number | undefined {
    return existsSync(this.#path('reached')) ? Number(readFileSync(this.#path('pid'), 'utf8')) : undefined;
  }

  release(): void {
    for (const name of ['armed', 'reached']) rmSync(this.#path(name), { force: true });
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }
}
