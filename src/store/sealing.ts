import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeAtomically } from '../atomic-file.ts';

/**
 * Seals values with AES-256-GCM under a key that is not in Redis. `context` (app and name) is authenticated with the value:
 * moved to another app or name it does not open. Tokens look like `v1.<key id>.<nonce, tag and ciphertext>`.
 */
export class Sealer {
  readonly #keys: ReadonlyMap<string, Buffer>;
  readonly #activeId: string;

  constructor(keys: ReadonlyMap<string, Buffer>) {
    const [activeId] = keys.keys();
    if (activeId === undefined) throw new Error('the key file holds no key');
    this.#keys = keys;
    this.#activeId = activeId;
  }

  seal(value: string, context: string): string {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key(this.#activeId), nonce);
    cipher.setAAD(Buffer.from(context));
    const text = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()]);
    return `v1.${this.#activeId}.${Buffer.concat([nonce, cipher.getAuthTag(), text]).toString('base64url')}`;
  }

  /** Throws when the token was changed, was sealed for another context, or its key is gone. */
  open(token: string, context: string): string {
    const [version, id, body] = token.split('.');
    if (version !== 'v1' || !id || !body) throw new Error('not a sealed value');
    const bytes = Buffer.from(body, 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', this.#key(id), bytes.subarray(0, 12));
    decipher.setAAD(Buffer.from(context));
    decipher.setAuthTag(bytes.subarray(12, 28));
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
  }

  #key(id: string): Buffer {
    const key = this.#keys.get(id);
    if (!key) throw new Error(`the key ${id} that sealed this value is not in the key file`);
    return key;
  }
}

export const keyFileName = 'env.keys';

/** Reads the key file, one `id:base64` per line, the first one active; makes it when `create` is set and there is none. */
export async function loadSealer(dir: string, create: boolean): Promise<Sealer> {
  const file = join(dir, keyFileName);
  if (!existsSync(file)) {
    if (!create) throw new Error(`${file} is missing: without it no variable of any app can be read`);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const line = `${randomBytes(4).toString('hex')}:${randomBytes(32).toString('base64')}\n`;
    await writeAtomically(file, line);
  }
  chmodSync(file, 0o600);
  return new Sealer(readKeys(file));
}

/** The first one is the active one. */
export function readKeys(file: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [id, encoded] = line.trim().split(':');
    if (!id || !encoded) continue;
    const key = Buffer.from(encoded, 'base64');
    if (key.length !== 32) throw new Error(`${file}: the key ${id} does not have 32 bytes`);
    keys.set(id, key);
  }
  return keys;
}
