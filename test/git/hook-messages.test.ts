import { describe, expect, it } from 'vitest';
import { parseHookRequest, reportPackets } from '../../src/git/hook-messages.ts';

function latin1(text: string | Buffer): string {
  return Buffer.from(text as string).toString('latin1');
}

function request(...refs: string[]) {
  const updates = refs.map((ref) => ({ ref, oldSha: '0', newSha: '1' }));
  return parseHookRequest(JSON.stringify({ pid: 7, updates, options: [latin1('größer')] }));
}

describe('what the hook asks', () => {
  it('is text again', () => {
    expect(request(latin1('refs/heads/größer'))).toEqual({
      pid: 7,
      updates: [{ ref: 'refs/heads/größer', oldSha: '0', newSha: '1' }],
      options: ['größer'],
      unreadable: [],
    });
  });

  it('keeps names apart that are no text', () => {
    const odd = latin1(Buffer.from([0x72, 0xff]));
    const other = latin1(Buffer.from([0x72, 0xfe]));
    expect(request(odd, other)).toMatchObject({ updates: [], unreadable: [odd, other] });
    expect(reportPackets(request(odd, other), [])).toEqual([
      `ng ${odd} the name is not UTF-8`,
      `ng ${other} the name is not UTF-8`,
    ]);
  });
});

describe('what the hook answers', () => {
  it('lets git move the ref, shows it as another, or refuses it', () => {
    const reports = reportPackets(request('refs/heads/a', 'refs/heads/b', 'refs/heads/c'), [
      { ref: 'refs/heads/c', status: 'refused', reason: 'größer\nok refs/heads/x' },
      { ref: 'refs/heads/a', status: 'ok' },
      { ref: 'refs/heads/b', status: 'shown-as', refName: 'refs/heads/main', oldSha: '1', newSha: '2' },
      { ref: 'refs/heads/stranger', status: 'ok' },
    ]);
    expect(reports).toEqual([
      'ok refs/heads/a',
      'option fall-through',
      'ok refs/heads/b',
      'option refname refs/heads/main',
      'option old-oid 1',
      'option new-oid 2',
      `ng refs/heads/c ${latin1('größer')}\\u000aok refs/heads/x`,
    ]);
  });

  it('refuses what nobody decided, and stays one short line', () => {
    expect(reportPackets(request('refs/heads/a'), [])).toEqual(['ng refs/heads/a internal error']);
    const [packet] = reportPackets(request('r'), [
      { ref: 'r', status: 'refused', reason: 'x'.repeat(100_000) },
    ]);
    expect(packet?.length).toBeLessThan(400);
  });
});
