import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GitResult } from '../support/git.ts';
import { Rig, until } from '../support/rig.ts';

let rig: Rig;
let folder: string;
beforeAll(async () => {
  rig = await Rig.start();
  folder = await mkdtemp(join(tmpdir(), 'gantry-editor-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rig[Symbol.asyncDispose]();
});
beforeEach(() => rig.explainFailures());

/** `gantry env edit` with a shell script as the editor: `$1` is the file. Temporary files are made in `folder/tmp`. */
async function edit(app: string, script: string, asEditor = (file: string) => file): Promise<GitResult> {
  const editor = join(folder, 'editor.sh');
  await writeFile(editor, `#!/bin/sh\n${script}\n`);
  await chmod(editor, 0o755);
  rig.env.EDITOR = asEditor(editor);
  rig.env.TMPDIR = join(folder, 'tmp');
  await rm(rig.env.TMPDIR, { recursive: true, force: true });
  await mkdir(rig.env.TMPDIR);
  return rig.gantry('env', 'edit', '--app', app);
}

async function envOf(app: string): Promise<unknown> {
  return JSON.parse((await rig.gantry('env', '--app', app, '--json')).stdout);
}

const leftovers = async (): Promise<string[]> => (await readdir(join(folder, 'tmp'))).sort();

describe('gantry env edit', () => {
  test('shows every variable in a file of one’s own, says by name what changed, and leaves nothing behind', async () => {
    await rig.setEnv('shop', { KEPT: 'a "quoted"\nvalue', COLOUR: 'red', OLD: 'x', CRLF: 'one\r\ntwo' });
    const copy = join(folder, 'seen');
    const edited = await edit(
      'shop',
      `cp "$1" ${copy}; stat -c %a "$1" "$(dirname "$1")" > ${copy}.modes; touch "$1~"
       sed -i -e 's/^COLOUR=.*/COLOUR="blue as\\nthe sky"/' -e '/^OLD=/d' "$1"; echo NEW=yes >> "$1"`,
    );
    expect(edited.stderr).toMatch(/^\+NEW ~COLOUR -OLD; in force with the next deployment/);
    expect(edited.code).toBe(0);
    expect(await readFile(`${copy}.modes`, 'utf8')).toBe('600\n700\n');
    expect(await readFile(copy, 'utf8')).toContain('KEPT="a \\"quoted\\"\nvalue"');
    expect(await envOf('shop')).toEqual({
      KEPT: 'a "quoted"\nvalue',
      COLOUR: 'blue as\nthe sky',
      NEW: 'yes',
      CRLF: 'one\r\ntwo',
    });
    expect(await leftovers()).toEqual([]);
  });

  test('does nothing when nothing was changed, or the editor failed', async () => {
    await rig.setEnv('calm', { ONE: '1' });
    const versionOf = async (): Promise<string | null> => {
      const response = await fetch(`http://127.0.0.1:${rig.port}/api/v1/apps/calm/env`, {
        headers: { authorization: `Bearer ${await rig.token}` },
      });
      return response.headers.get('etag');
    };
    const before = await versionOf();
    const unchanged = await edit('calm', 'true');
    expect(unchanged).toMatchObject({ code: 0, stderr: 'nothing to change\n' });
    const commented = await edit('calm', 'echo "# a thought" >> "$1"');
    expect(commented).toMatchObject({ code: 0, stderr: 'nothing to change\n' });
    const failed = await edit('calm', 'echo TWO=2 >> "$1"; exit 3');
    expect(failed.stderr).toContain('ended with 3; nothing was changed');
    expect(failed.code).toBe(2);
    const missing = await edit('calm', '', () => 'no-such-editor --wait');
    expect(missing.stderr).toContain('ended with 127; nothing was changed; set EDITOR to one you have');
    expect(await versionOf()).toBe(before);
    expect(await leftovers()).toEqual([]);
  });

  test('is refused when somebody else was faster, and the text is kept', async () => {
    await rig.setEnv('busy', { ONE: '1' });
    const [begun, go] = [join(folder, 'begun'), join(folder, 'go')];
    const editing = edit(
      'busy',
      `echo 'MINE="long work"' >> "$1"; touch ${begun}; while [ ! -e ${go} ]; do sleep 0.05; done`,
    );
    await until('the editor is open', () => existsSync(begun));
    await rig.setEnv('busy', { THEIRS: 'first' });
    await writeFile(go, '');
    const refused = await editing;
    expect(refused.stderr).toContain('the variables of busy were changed meanwhile; your text is in ');
    expect(refused.code).toBe(5);
    expect(await envOf('busy')).toEqual({ ONE: '1', THEIRS: 'first' });
    const kept = /your text is in (\S+)/.exec(refused.stderr)?.[1] ?? '';
    expect((await stat(kept)).mode & 0o777).toBe(0o600);
    const imported = await rig.gantry('env', 'import', kept, '--app', 'busy');
    expect(imported.code).toBe(0);
    expect(await envOf('busy')).toEqual({ ONE: '1', THEIRS: 'first', MINE: 'long work' });
  });

  test('shows a text that cannot be used again with the reason, until it can or is given up', async () => {
    await rig.setEnv('wrong', { ONE: '1' });
    const seen = join(folder, 'reasons');
    const repaired = await edit(
      'wrong',
      `head -n 1 "$1" >> ${seen}
       if grep -q '^PORT=80$' "$1"; then exit 0; fi
       if grep -q '^PORT=0$' "$1"; then sed -i 's/^PORT=0/PORT=80/' "$1"; exit 0; fi
       if grep -q '^no-pair$' "$1"; then sed -i 's/^no-pair/PORT=0/' "$1"; exit 0; fi
       echo no-pair >> "$1"`,
    );
    expect(repaired.stderr).toContain('+PORT; in force');
    expect(repaired.code).toBe(0);
    expect((await readFile(seen, 'utf8')).split('\n').slice(1, 3)).toEqual([
      '# ! line 3: is not NAME=value',
      expect.stringContaining('# ! PORT must be a port number'),
    ]);
    expect(await leftovers()).toEqual([]);

    const givenUp = await edit('wrong', 'grep -q BAD- "$1" || echo BAD-NAME=1 >> "$1"');
    expect(givenUp.stderr).toMatch(/nothing was changed: .*BAD-NAME.*; your text is in /);
    expect(givenUp.code).toBe(2);
    const kept = /your text is in (\S+)/.exec(givenUp.stderr)?.[1] ?? '';
    expect(await readFile(kept, 'utf8')).toContain('BAD-NAME=1');
    expect(await envOf('wrong')).toEqual({ ONE: '1', PORT: '80' });
  });
});
