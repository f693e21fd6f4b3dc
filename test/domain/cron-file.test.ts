import { describe, expect, test } from 'vitest';
import { parseCronFile } from '../../src/domain/cron-file.ts';

describe('a cron file', () => {
  test('is a list of schedules with commands', () => {
    const lines = ['*/5 * * * * $ROOT/cron.sh', ' 0  4 1,15 jan-jun MON-FRI  node a.js "b  c" '];
    expect(parseCronFile(JSON.stringify(lines))).toEqual({
      entries: [
        { schedule: '*/5 * * * *', command: '$ROOT/cron.sh' },
        { schedule: '0 4 1,15 jan-jun MON-FRI', command: 'node a.js "b  c"' },
      ],
    });
    expect(parseCronFile('[]')).toEqual({ entries: [] });
  });

  test.each(['59 23 31 12 7', '0-30/5 0,12 1-15 * 0', '5/10 * * * SUN', '* * * * 1-5'])(
    'takes the schedule %j',
    (schedule) => {
      expect(parseCronFile(JSON.stringify([`${schedule} x`]))).toEqual({
        entries: [{ schedule, command: 'x' }],
      });
    },
  );

  test.each([
    ['{', /^it is not valid JSON/],
    ['{"a": 1}', /^it must be a JSON array/],
    ['[1]', /^entry 1 is no text/],
    ['["* * * * *"]', /^entry 1 must be five fields and a command/],
    ['["0 4 * * * a", "60 * * * * a"]', /^entry 2 has no valid minute \(0-59\): "60"/],
    ['["* 24 * * * a"]', /hour/],
    ['["* * 0 * * a"]', /day of the month/],
    ['["* * * 13 * a"]', /month \(1-12\)/],
    ['["* * * * 8 a"]', /day of the week/],
    ['["*/0 * * * * a"]', /minute/],
    ['["5-1 * * * * a"]', /minute/],
    ['["@daily a b c d e"]', /minute/],
    ['["* * * FOO * a"]', /month/],
    [JSON.stringify(Array.from({ length: 51 }, () => '* * * * * a')), /more than 50/],
  ])('that says %s is refused', (text, problem) => {
    expect(parseCronFile(text)).toEqual({ problems: [expect.stringMatching(problem)] });
  });
});
