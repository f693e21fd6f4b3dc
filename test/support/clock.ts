import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The clock of a rig's processes, and of no others, which can jump. How long something takes is measured as before. */
export class Clock {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gantry-clock-'));

  constructor() {
    this.jump('+0');
  }

  /** For the rig's environment. */
  get env(): Record<string, string> {
    return {
      // Redis brings an allocator of its own, which asks for the time before libfaketime is ready to be asked.
      LD_PRELOAD: `${library()}:libc.so.6`,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** So far from the true time, as `faketime` says it: `+1h`, `-1d`. */
  jump(offset: string): void {
    writeFileSync(`${this.#file}.new`, `${offset}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }

  get #file(): string {
    return join(this.#folder, 'offset');
  }
}

/** Debian has it in the folder of the machine's architecture. */
function library(): string {
  const found = readdirSync('/usr/lib')
    .map((name) => join('/usr/lib', name, 'faketime/libfaketimeMT.so.1'))
    .find((path) => existsSync(path));
  if (!found) throw new Error('libfaketime is not installed; type: bin/setup --test');
  return found;
}
