import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../atomic-file.ts';
import { type HaproxyPaths, readBackends, readHosts } from './haproxy-config.ts';
import type { State } from './haproxy-state.ts';
import { pageFiles } from './pages.ts';

export type Texts = { config: string; hosts: string };

/** The files an HAProxy starts from. They always say what the running one does. */
export class HaproxyFiles {
  readonly #paths: HaproxyPaths;
  #texts: Texts = { config: '', hosts: '' };

  constructor(paths: HaproxyPaths) {
    this.#paths = paths;
  }

  get texts(): Texts {
    return this.#texts;
  }

  /** What the files say; nothing when there are none. */
  get state(): State {
    return { backends: readBackends(this.#texts.config), hosts: readHosts(this.#texts.hosts) };
  }

  async prepare(): Promise<void> {
    await mkdir(this.#paths.pages, { recursive: true, mode: 0o700 });
    for (const [name, text] of pageFiles()) await writeAtomically(join(this.#paths.pages, name), text);
    this.#texts = { config: await readText(this.#paths.config), hosts: await readText(this.#paths.hosts) };
  }

  async write({ config, hosts }: Texts): Promise<void> {
    // HAProxy refuses a configuration with a map that is missing, so an empty one is written too.
    if (hosts !== this.#texts.hosts || hosts === '') await writeAtomically(this.#paths.hosts, hosts);
    this.#texts = { ...this.#texts, hosts };
    if (config !== this.#texts.config) await writeAtomically(this.#paths.config, config);
    this.#texts = { config, hosts };
  }

  /** Writes what somebody has changed or removed as it was. */
  async restore(): Promise<void> {
    const wanted = this.#texts;
    this.#texts = { config: await readText(this.#paths.config), hosts: await readText(this.#paths.hosts) };
    await this.write(wanted);
  }

  /** A configuration to be checked, beside the one in use. */
  async writeCandidate(config: string): Promise<string> {
    const path = `${this.#paths.config}.candidate`;
    await writeAtomically(path, config);
    return path;
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
