import { describe, expect, test } from 'vitest';
import { Budget } from '../../src/app-log/budget.ts';

describe('what an app may print', () => {
  test('is a burst, then a rate, with one pause instead of many small ones', () => {
    let now = 0;
    const budget = new Budget(1000, 100, () => now);
    expect(budget.admit(600)).toBe(true);
    expect(budget.admit(400)).toBe(true);
    expect(budget.admit(10)).toBe(false);
    now = 500;
    expect(budget.admit(10)).toBe(false);
    now = 1000;
    expect(budget.admit(10)).toBe(true);
    expect(budget.admit(90)).toBe(true);
    expect(budget.admit(1)).toBe(false);
    now = 1_000_000;
    expect(budget.admit(1000)).toBe(true);
    expect(budget.admit(1)).toBe(false);
  });
});
