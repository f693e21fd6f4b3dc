import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from './exit-code.ts';

/** A text in a person's editor. The file is only theirs to read, and goes with everything the editor left beside it. */
export class EditedText {
  readonly #folder: string;
  readonly path: string;
  #isKept = false;

  private constructor(folder: string, name: string) {
    this.#folder = folder;
    this.path = join(folder, name);
  }

  static async create(name: string): Promise<EditedText> {
    return new EditedText(await mkdtemp(join(tmpdir(), 'gantry-edit-')), name);
  }

  /** Shows it and returns what became of it. Throws when the editor ends with anything but 0. */
  async edit(text: string): Promise<string> {
    await writeFile(this.path, text, { mode: 0o600 });
    const remove = (): never => {
      this[Symbol.dispose]();
      process.exit(1);
    };
    // Ctrl-C in the terminal is for the editor; what ends us must not leave the file.
    const ignore = (): void => {};
    process.on('SIGINT', ignore).on('SIGTERM', remove).on('SIGHUP', remove);
    try {
      await runEditor(this.path);
    } finally {
      process.off('SIGINT', ignore).off('SIGTERM', remove).off('SIGHUP', remove);
    }
    return readFile(this.path, 'utf8').catch(() => {
      throw new UsageError('the editor removed the file; nothing was changed');
    });
  }

  /** For somebody whose text could not be used. */
  keep(): void {
    this.#isKept = true;
  }

  [Symbol.dispose](): void {
    if (!this.#isKept) rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** As git does: the variable may hold options, and means what it would mean in the person's own shell. */
async function runEditor(file: string): Promise<void> {
  const editor = process.env.VISUAL || process.env.EDITOR || 'vi';
  const child = spawn('sh', ['-c', `${editor} "$@"`, editor, file], { stdio: 'inherit' });
  const how = await new Promise<string | number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  if (how === 0) return;
  const hint = how === 127 ? '; set EDITOR to one you have' : '';
  throw new UsageError(`the editor "${editor}" ended with ${how}; nothing was changed${hint}`);
}
