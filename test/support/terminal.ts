import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Rig } from './rig.ts';
import { until } from './rig.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** The command line in a real pseudo-terminal, that of `script`: what is typed goes in, what a person would see comes out. */
export class Terminal {
  readonly #script: ChildProcess;
  readonly ended: Promise<number | null>;
  #output = Buffer.alloc(0);
  readonly #chunks: Buffer[] = [];

  private constructor(script: ChildProcess) {
    this.#script = script;
    script.stdout?.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.ended = new Promise((resolve) => script.on('close', resolve));
  }

  static open(rig: Rig, columns: number, rows: number, ...args: string[]): Terminal {
    return Terminal.openAt(rig, `http://127.0.0.1:${rig.port}`, columns, rows, ...args);
  }

  /** With the server at another address. */
  static openAt(rig: Rig, url: string, columns: number, rows: number, ...args: string[]): Terminal {
    const words = [process.execPath, cli, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    // `script` ends as the command does, and before it the shell says how the terminal was left.
    const command = `trap : INT; stty rows ${rows} cols ${columns}; ${words.join(' ')}; code=$?; stty -a | grep -o '[-]*icanon\\|[-]*echo ' ; exit $code`;
    const script = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
      env: {
        ...rig.env,
        GANTRY_URL: url,
        SHELL: '/bin/sh',
        TERM: 'vt220',
      },
      cwd: rig.dataDir,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    return new Terminal(script);
  }

  /** Everything shown so far. */
  get bytes(): Buffer {
    if (this.#chunks.length > 0) this.#output = Buffer.concat([this.#output, ...this.#chunks.splice(0)]);
    return this.#output;
  }

  get screen(): string {
    return this.bytes.toString();
  }

  type(keys: string): void {
    this.#script.stdin?.write(keys);
  }

  async sees(text: string | RegExp, limitMs?: number): Promise<void> {
    await until(`the terminal shows ${text}`, () => this.#has(text), limitMs).catch((error: unknown) => {
      throw new Error(`${String(error)}; it shows: ${this.screen.slice(-2000)}`);
    });
  }

  /** Process id of the command line. */
  async pid(): Promise<number> {
    let found: number | undefined;
    await until('the command line runs', () => {
      const [shell] = childrenOf(this.#script.pid ?? 0);
      found = shell === undefined ? undefined : childrenOf(shell).find(isNode);
      return found !== undefined;
    });
    return found ?? 0;
  }

  async resize(columns: number, rows: number): Promise<void> {
    const device = readlinkSync(`/proc/${await this.pid()}/fd/0`);
    const stty = spawn('stty', ['-F', device, 'rows', String(rows), 'cols', String(columns)]);
    await new Promise((resolve) => stty.on('close', resolve));
  }

  /** Ends without a word, as a window that is closed does. */
  kill(): void {
    this.#script.kill('SIGKILL');
  }

  #has(text: string | RegExp): boolean {
    return typeof text === 'string' ? this.screen.includes(text) : text.test(this.screen);
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

function isNode(pid: number): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('cli.js');
}
