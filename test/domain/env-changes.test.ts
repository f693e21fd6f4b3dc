import { expect, test } from 'vitest';
import { envChanges, showEnvChanges } from '../../src/domain/env-changes.ts';
import { goneBack } from '../../src/domain/go-back.ts';

test('names what was added, changed and removed, and no value', () => {
  const changes = envChanges(
    { SAME: 'a', CHANGED: 'secret', GONE: 'b' },
    { SAME: 'a', CHANGED: 'hidden', NEW: 'c' },
  );
  expect(changes).toEqual({ added: ['NEW'], changed: ['CHANGED'], removed: ['GONE'] });
  expect(showEnvChanges(changes)).toBe('+NEW ~CHANGED -GONE');
  expect(showEnvChanges(envChanges({ A: '' }, { A: '' }))).toBe('');
});

test.each<[string, string | undefined, string | undefined, string | undefined, string | undefined, boolean]>([
  // now, leaving, target -> result, waiting
  ['nothing differs', 'a', 'a', 'a', 'a', false],
  ['a change of the release that is left', 'b', 'b', 'a', 'a', false],
  ['what that release added', 'b', 'b', undefined, undefined, false],
  ['what that release removed', undefined, undefined, 'a', 'a', false],
  ['a change that was never in force', 'c', 'b', 'a', 'c', true],
  ['an addition that was never in force', 'c', undefined, undefined, 'c', true],
  ['a removal that was never in force', undefined, 'b', 'a', undefined, true],
  ['set back by hand already', 'a', 'b', 'a', 'a', false],
])('going back: %s', (_, now, leaving, target, result, isWaiting) => {
  const named = (value: string | undefined): Record<string, string> =>
    value === undefined ? {} : { A: value };
  const back = goneBack({ now: named(now), leaving: named(leaving), target: named(target) });
  expect({ ...back.result }).toEqual(named(result));
  expect(back.waiting).toEqual(isWaiting ? ['A'] : []);
});
