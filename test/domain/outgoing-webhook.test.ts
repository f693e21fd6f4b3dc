import { describe, expect, test } from 'vitest';
import { retryDelay, showWebhookUrl } from '../../src/domain/outgoing-webhook.ts';

test.each([
  ['https://hooks.slack.com/services/T0/B0/word', 'slack', 'https://hooks.slack.com/…'],
  ['https://ci.example:8443/hook?token=word', 'json', 'https://ci.example:8443/hook?…'],
  ['https://ana:word@forge.example/a/b.git', 'status', 'https://forge.example/a/b.git'],
  ['git@forge.example:a/b.git', 'status', 'git@forge.example:a/b.git'],
] as const)('%s, as %s, is shown without what is secret in it', (url, format, shown) => {
  expect(showWebhookUrl(url, format)).toBe(shown);
});

describe('the time until the next attempt', () => {
  test('is that of the schedule and up to a fifth more, and ends with it', () => {
    expect(retryDelay([5000, 300_000], 1, 0)).toBe(5000);
    expect(retryDelay([5000, 300_000], 2, 1)).toBe(360_000);
    expect(retryDelay([5000, 300_000], 3, 0)).toBeUndefined();
    expect(retryDelay([], 1, 0)).toBeUndefined();
  });
});
