import { expect, it } from 'vitest';
import { selectBuildArgs } from '../../src/docker/build-args.ts';

it('passes all variables while they fit, declared or not', () => {
  const variables = { A: '1', B: 'two\nlines', __proto__x: '3' };
  expect(selectBuildArgs(variables, 'FROM x\nARG A')).toEqual({ ok: true, buildArgs: variables });
});

it('keeps back what would steer BuildKit itself', () => {
  expect(selectBuildArgs({ BUILDKIT_SYNTAX: 'evil/frontend', A: '1' }, 'FROM x')).toEqual({
    ok: true,
    buildArgs: { A: '1' },
  });
});

it('passes only declared ones when all together are too long for the engine', () => {
  const variables = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`V${i}`, 'x'.repeat(100_000)]));
  const selected = selectBuildArgs({ ...variables, http_proxy: 'http://p' }, 'FROM x\nARG V3');
  expect(selected.ok && Object.keys(selected.buildArgs)).toEqual(['V3', 'http_proxy']);
});

it('counts percent-encoded bytes', () => {
  const large = '🚀'.repeat(30_000);
  const selected = selectBuildArgs({ A: large, B: large, C: large, D: 'd' }, 'FROM x\nARG D');
  expect(selected.ok && Object.keys(selected.buildArgs)).toEqual(['D']);
});

it('names the largest when even the declared ones are too long together', () => {
  const variables = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`V${i}`, 'x'.repeat(120_000)]));
  const dockerfile = Object.keys(variables)
    .map((name) => `ARG ${name}`)
    .join('\n');
  expect(selectBuildArgs({ ...variables, V4: 'x'.repeat(130_000) }, dockerfile)).toEqual({
    ok: false,
    reason: expect.stringContaining('V4'),
  });
});

it('refuses a declared value that no process can be given, and skips an undeclared one', () => {
  const longest = 'x'.repeat(131_072 - 'A='.length - 1);
  expect(selectBuildArgs({ A: longest }, 'ARG A')).toMatchObject({ ok: true });
  expect(selectBuildArgs({ A: `${longest}x` }, 'ARG A')).toEqual({
    ok: false,
    reason: expect.stringContaining('variable A'),
  });
  expect(selectBuildArgs({ A: `${longest}x`, B: 'b' }, 'ARG B')).toEqual({ ok: true, buildArgs: { B: 'b' } });
});
