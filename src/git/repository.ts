import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommitSha, parseCommitSha } from '../domain/app.ts';
import { messageOf } from '../errors.ts';
import { type GitPlace, runGit, silentFailure } from './git-command.ts';

export type CommitInfo = {
  sha: CommitSha;
  /** First line of the message, as written by whoever pushed: hostile text, cut to a sensible length. */
  subject: string;
  author: string;
};

/** One app's bare repository on disk. Everything given to git as an object id went through parseCommitSha. */
export class Repository {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** What a ref points at, if it exists; an annotated tag counts as its commit. */
  async readRef(ref: string): Promise<CommitSha | undefined> {
    return this.#resolve(`${checkedRef(ref)}^{commit}`);
  }

  /** Whether a ref is there, without asking git; `false`: it may be all the same. */
  async isAt(ref: string, sha: CommitSha): Promise<boolean> {
    const text = await readFile(join(this.path, checkedRef(ref)), 'utf8').catch(() => '');
    return text.trim() === sha;
  }

  /** Moves a ref only if it still is where the caller saw it; `undefined` means it does not exist. */
  async compareAndSwapRef(ref: string, newSha: CommitSha, oldSha: CommitSha | undefined): Promise<boolean> {
    try {
      await this.#changeRef('update', checkedRef(ref), newSha, oldSha ?? '0'.repeat(newSha.length));
      return true;
    } catch (error) {
      if ((await this.readRef(ref)) !== oldSha) return false;
      throw error;
    }
  }

  /** Keeps a commit alive and invisible to pushers, whatever happens to the branches. */
  async pin(id: string, sha: CommitSha): Promise<void> {
    await this.#changeRef('update', pinRef(id), sha, '');
  }

  async unpin(id: string): Promise<void> {
    await this.#changeRef('delete', pinRef(id), '');
  }

  /** The ids of all pins, for finding forgotten ones. Without asking git: nothing here ever packs refs. */
  async pins(): Promise<string[]> {
    const files = await readdir(join(this.path, pinFolder)).catch(() => []);
    return files.filter((name) => !name.endsWith('.lock'));
  }

  /** All refs as they are now, as git keeps them in a file. */
  async packedRefs(): Promise<string> {
    return this.#git(['for-each-ref', '--format=%(objectname) %(refname)']);
  }

  /** Their commits stay. */
  async removeBranches(): Promise<void> {
    const names = await this.#git(['for-each-ref', '--format=%(refname)', 'refs/heads/']);
    for (const name of names.split('\n'))
      if (name !== '') await this.#changeRef('delete', checkedRef(name), '');
  }

  /** The branch that a plain `git clone` checks out. */
  async setDefaultBranch(branch: string): Promise<void> {
    await this.#git(['symbolic-ref', 'HEAD', checkedRef(`refs/heads/${branch}`)], { isSilent: true });
  }

  /** The commit that an id of any object leads to: itself, or what a tag is about. Nothing for trees and files. */
  async commitInfo(sha: CommitSha): Promise<CommitInfo | undefined> {
    const format = '--format=%H%x00%an%x00%s';
    const text = await this.#git([
      'show',
      '--no-patch',
      '--no-show-signature',
      format,
      `${sha}^{commit}`,
    ]).catch((error: unknown) => {
      if (/expected commit type|Needed a single revision|unknown revision|bad object/.test(messageOf(error)))
        return '';
      throw error;
    });
    const [id = '', author = '', subject = ''] = text.trimEnd().split('\0');
    const commit = parseCommitSha(id);
    return commit && { sha: commit, subject: subject.slice(0, 200), author: author.slice(0, 100) };
  }

  /** The whole message of a commit that is here. */
  async message(sha: CommitSha): Promise<string> {
    return this.#git(['show', '--no-patch', '--no-show-signature', '--format=%B', `${sha}^{commit}`]);
  }

  /** False also when it cannot be known: the history of a shallow push ends early. */
  async isAncestor(ancestor: CommitSha, descendant: CommitSha): Promise<boolean> {
    const base = await this.#git(['merge-base', ancestor, descendant]).catch(() => '');
    return base.trim() === ancestor;
  }

  /** False for a commit from a shallow push: its parents were never sent. */
  async hasWholeHistory(sha: CommitSha): Promise<boolean> {
    return this.#git(['rev-list', '--count', sha]).then(
      () => true,
      () => false,
    );
  }

  /** Copies a commit and all before it from a repository on this machine. No ref changes. */
  async takeCommit(sha: CommitSha, from: Repository): Promise<void> {
    const quietly = ['--quiet', '--no-tags', '--no-auto-gc', '--no-write-fetch-head'];
    await this.#git(['fetch', ...quietly, from.path, sha], { isSilent: true });
  }

  /**
   * Writes the files of a commit into a new folder. Nothing in the commit runs: no hooks, no filters;
   * submodules stay empty folders. The repository itself is only read.
   */
  async checkout(
    sha: CommitSha,
    folder: string,
    signal?: AbortSignal,
    indexFile = `${folder}.index`,
  ): Promise<void> {
    await mkdir(folder);
    try {
      await this.#git(['read-tree', '--reset', '-u', sha], {
        workTree: folder,
        indexFile,
        isSilent: true,
        ...(signal && { signal }),
      });
    } finally {
      await rm(indexFile, { force: true });
      await rm(`${indexFile}.lock`, { force: true });
    }
  }

  /** Whether the path is a file of the commit; a folder or a submodule is not. */
  async hasFile(sha: CommitSha, path: string): Promise<boolean> {
    const entries = await this.#listTree(sha, [path]);
    return entries.some((entry) => entry.type === 'blob' && entry.path === path);
  }

  /** The entries of one folder of the commit, by default its root. */
  async listFiles(sha: CommitSha, folder = ''): Promise<string[]> {
    const entries = await this.#listTree(sha, folder === '' ? [] : [`${folder}/`]);
    return entries.filter((entry) => entry.type === 'blob').map((entry) => entry.path);
  }

  async submodulePaths(sha: CommitSha): Promise<string[]> {
    const entries = await this.#listTree(sha, [], ['-r']);
    return entries.filter((entry) => entry.type === 'commit').map((entry) => entry.path);
  }

  /** The submodules of a commit, and where its .gitmodules says they come from. The URLs are whatever somebody wrote. */
  async submodules(sha: CommitSha): Promise<{ path: string; commit: CommitSha; url: string | undefined }[]> {
    const links = (await this.#listTree(sha, [], ['-r'])).filter((entry) => entry.type === 'commit');
    if (links.length === 0) return [];
    const urls = await this.#submoduleUrls(sha);
    return links.flatMap(({ path, id }) => {
      const commit = parseCommitSha(id);
      return commit ? [{ path, commit, url: urls.get(path) }] : [];
    });
  }

  /** The bytes of all files of a commit. */
  async sizeOf(sha: CommitSha): Promise<number> {
    const listing = await this.#git(['ls-tree', '-r', '-l', '-z', '--full-tree', sha]);
    const sizes = [...listing.matchAll(/(?:^|\0)\d+ blob [0-9a-f]+ +(\d+)\t/g)].map((match) =>
      Number(match[1]),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async #submoduleUrls(sha: CommitSha): Promise<Map<string, string>> {
    if (!(await this.hasFile(sha, '.gitmodules'))) return new Map();
    const wanted = '^submodule[.].*[.](path|url)$';
    const text = await this.#git([
      'config',
      '-z',
      '--blob',
      `${sha}:.gitmodules`,
      '--get-regexp',
      wanted,
    ]).catch(() => '');
    const modules = new Map<string, { path?: string; url?: string }>();
    for (const entry of text.split('\0')) {
      const match = /^submodule[.]([^]*)[.](path|url)\n([^]*)$/.exec(entry);
      if (!match) continue;
      const [, name = '', key = '', value = ''] = match;
      modules.set(name, { ...modules.get(name), [key]: value });
    }
    return new Map([...modules.values()].flatMap(({ path, url }) => (path && url ? [[path, url]] : [])));
  }

  /** Files whose content is in Git LFS and was therefore never pushed here. */
  async lfsPointers(sha: CommitSha): Promise<string[]> {
    if (!(await this.hasFile(sha, '.gitattributes'))) return [];
    const attributes = await this.#git(['cat-file', 'blob', `${sha}:.gitattributes`]);
    if (!/filter=lfs/.test(attributes)) return [];
    const pointerLine = '^version https://git-lfs[.]github[.]com/spec/v1$';
    const found = await this.#git(['grep', '-l', '-z', '-E', '-e', pointerLine, sha]).catch(() => '');
    return found.split('\0').flatMap((hit) => (hit === '' ? [] : [hit.slice(sha.length + 1)]));
  }

  async #listTree(sha: CommitSha, paths: readonly string[], options: readonly string[] = []) {
    const listing = await this.#git(['ls-tree', '-z', '--full-tree', ...options, sha, '--', ...paths]);
    return listing.split('\0').flatMap((line) => {
      const match = /^\d+ (\w+) ([0-9a-f]+)\t([^]+)$/.exec(line);
      return match ? [{ type: match[1] ?? '', id: match[2] ?? '', path: match[3] ?? '' }] : [];
    });
  }

  async #resolve(expression: string): Promise<CommitSha | undefined> {
    try {
      const answer = await this.#git(['rev-parse', '--verify', '--quiet', '--end-of-options', expression]);
      return parseCommitSha(answer.trim());
    } catch (error) {
      // Anything else than a silent "no" must not pass for a missing ref.
      if (messageOf(error) === silentFailure || /expected commit type/.test(messageOf(error)))
        return undefined;
      throw error;
    }
  }

  /** As a transaction, because its verbs make git print, and simple-git waits 50 ms more for a silent command. */
  async #changeRef(verb: 'update' | 'delete', ref: string, ...values: string[]): Promise<void> {
    const change = `${verb} ${[ref, ...values].join('\0')}`;
    const said = await this.#git(['update-ref', '--stdin', '-z'], { input: `start\0${change}\0commit\0` });
    // Of a transaction that it read only in part, git says nothing, and that all is well.
    if (!said.includes('commit: ok')) throw new Error(`git did not ${verb} ${ref}`);
  }

  #git(args: readonly string[], place: GitPlace = {}): Promise<string> {
    return runGit(args, { ...place, gitDir: this.path });
  }
}

const pinFolder = 'refs/gantry/deploys/';

function pinRef(id: string): string {
  return checkedRef(pinFolder + id);
}

/** Ref names are hostile text: only a full name is ever given to git, which then cannot be read as an option. */
function checkedRef(ref: string): string {
  if (!/^refs\/[^\0-\x20\x7f~^:?*[\\]+$/.test(ref) || ref.includes('..') || ref.includes('@{')) {
    throw new Error(`not a full ref name: ${JSON.stringify(ref)}`);
  }
  return ref;
}
