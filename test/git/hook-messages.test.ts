import { describe, expect, it } from 'vitest';
import {
  type HookRequest,
  parseHookRequest,
  printFrame,
  reportFrame,
  reportPackets,
} from '../../src/git/hook-messages.ts';

function latin1(text: string | Buffer): string {
  return Buffer.from(text as string).toString('latin1');
}

function packet(text: string): string {
  return (text.length + 4).toString(16).padStart(4, '0') + text;
}

const old = '0'.repeat(40);
const fresh = '1'.repeat(40);

/** As the hook sends it; `refs` are latin1 text, byte for byte. */
function message(...refs: string[]): Buffer {
  const commands = refs.map((ref) => packet(`${old} ${fresh} ${ref}`)).join('');
  return Buffer.from(`7\n${commands}0000${packet(latin1('größer'))}0000`, 'latin1');
}

function request(...refs: string[]): HookRequest {
  const parsed = parseHookRequest(message(...refs));
  if (!parsed) throw new Error('not whole');
  return parsed;
}

describe('what the hook asks', () => {
  it('is text again', () => {
    expect(request(latin1('refs/heads/größer'))).toEqual({
      pid: 7,
      updates: [{ ref: 'refs/heads/größer', oldSha: old, newSha: fresh }],
      options: ['größer'],
      unreadable: [],
    });
  });

  it('is waited for until its last byte', () => {
    const whole = message('refs/heads/a', 'refs/heads/b');
    for (let end = 0; end < whole.length; end += 1)
      expect(parseHookRequest(whole.subarray(0, end))).toBeUndefined();
    expect(parseHookRequest(whole)?.updates).toHaveLength(2);
  });

  it('is refused when it is anything else', () => {
    expect(() => parseHookRequest(Buffer.from('7\nGET / HTTP/1.1\r\n'))).toThrow('no packets');
    expect(() => parseHookRequest(Buffer.from(`7\n${packet('hello')}00000000`))).toThrow('no command');
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

  it('says where it goes and how long it is', () => {
    expect(printFrame('a\0ü').toString()).toBe('200000004aü\n');
    const report = reportFrame(request('refs/heads/a'), [{ ref: 'refs/heads/a', status: 'ok' }]).toString();
    expect(report).toBe('10000002e0013ok refs/heads/a0017option fall-through0000');
  });

  it('refuses what nobody decided, and stays one short line', () => {
    expect(reportPackets(request('refs/heads/a'), [])).toEqual(['ng refs/heads/a internal error']);
    const [packet] = reportPackets(request('r'), [
      { ref: 'r', status: 'refused', reason: 'x'.repeat(100_000) },
    ]);
    expect(packet?.length).toBeLessThan(400);
  });
});
