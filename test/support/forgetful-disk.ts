import { execFile } from 'node:child_process';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './rig.ts';

const run = promisify(execFile);

/**
 * A disk for a folder that keeps, when the power is cut, only what was synced: ext4 writes the rest minutes later. Needs
 * root and a loop device.
 */
export class ForgetfulDisk {
  readonly #folder: string;
  readonly #place: string;

  private constructor(folder: string, place: string) {
    this.#folder = folder;
    this.#place = place;
  }

  static async mount(folder: string): Promise<ForgetfulDisk> {
    const disk = new ForgetfulDisk(folder, await mkdtemp(join(tmpdir(), 'gantry-disk-')));
    await run('truncate', ['--size', '768M', disk.#image]);
    await run('mkfs.ext4', ['-q', '-E', 'lazy_itable_init=0,nodiscard', disk.#image]);
    await disk.#mount();
    await rm(join(folder, 'lost+found'), { recursive: true });
    await run('sync', ['--file-system', folder]);
    return disk;
  }

  /**
   * Nobody may write to it while `dying` is not done; then everybody who did is dead. The files of one that was killed
   * stay open for a moment after its name and its arguments are gone from /proc.
   */
  async cutPower(dying: () => Promise<void>): Promise<void> {
    const kept = `${this.#image}.kept`;
    await run('cp', ['--sparse=always', this.#image, kept]);
    await dying();
    await until('nobody has a file of it open', () => this.#unmount());
    await rename(kept, this.#image);
    await this.#mount();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run('umount', ['--lazy', this.#folder]);
    for (const place of [this.#folder, this.#place]) await rm(place, { recursive: true, force: true });
  }

  get #image(): string {
    return join(this.#place, 'image');
  }

  async #unmount(): Promise<boolean> {
    try {
      await run('umount', [this.#folder]);
      return true;
    } catch (error) {
      if (String(error).includes('target is busy')) return false;
      throw error;
    }
  }

  async #mount(): Promise<void> {
    await run('mount', ['-o', 'loop,commit=3000', this.#image, this.#folder]);
  }
}
