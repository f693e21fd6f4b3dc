import { expect, test } from 'vitest';
import { type AppName, parseAppName } from '../../src/domain/app.ts';
import type { Endpoint, Route } from '../../src/domain/route.ts';
import { hostsOf, isStructural, planSlots, type Slot, targetOf } from '../../src/router/slots.ts';

/** `a+ b- .`: a live, b draining, one free. */
function slots(text: string): Slot[] {
  return text.split(' ').map((word): Slot => {
    if (word === '.') return { use: 'free' };
    return { use: word.endsWith('+') ? 'live' : 'draining', ...target(word[0] ?? '') };
  });
}

function written(list: readonly Slot[] | undefined): string | undefined {
  return list
    ?.map((slot) => (slot.use === 'free' ? '.' : `${letterOf(slot.port)}${slot.use === 'live' ? '+' : '-'}`))
    .join(' ');
}

function target(letter: string) {
  return { address: '10.0.0.1', port: letter.charCodeAt(0) };
}

function letterOf(port: number): string {
  return String.fromCharCode(port);
}

function endpoints(letters: string): Endpoint[] {
  return letters.split('').map((letter) => ({ container: letter, release: 1, ...target(letter) }));
}

function app(name: string): AppName {
  return parseAppName(name) ?? expect.fail(`${name} is not an app name`);
}

function route(name: string, live: string, hosts = [`${name}.test`]): Route {
  return { app: app(name), version: 1, hosts, live: endpoints(live), draining: [] };
}

test.each([
  ['a new app without a release', '', '', '. . . .'],
  ['a new app', '', 'a', 'a+ . . .'],
  ['a new app with three replicas', '', 'abc', 'a+ b+ c+ . . . . .'],
  ['the same again', 'a+ . . .', 'a', 'a+ . . .'],
  ['a swap', 'a+ . . .', 'b', 'a- b+ . .'],
  ['the next swap, the first slot being free again', '. b+ . .', 'c', 'c+ b- . .'],
  ['a swap during a drain', 'a- b+ . .', 'c', 'a- b- c+ .'],
  ['back to a container that still drains', 'a- b+ . .', 'a', 'a+ b- . .'],
  ['scaling up', 'a+ . . .', 'abc', 'a+ b+ c+ .'],
  ['scaling down', 'a+ b+ c+ .', 'b', 'a- b+ c- .'],
  ['the last release gone', 'a+ . . .', '', 'a- . . .'],
  ['a container named twice', '. . . .', 'aa', 'a+ . . .'],
  ['more than fits', 'a- b- c- d+', 'e', 'a- b- c- d- e+ . .'],
  ['more replicas than fit', 'a+ . . .', 'bcdef', 'a- b+ c+ d+ e+ f+ . . . . . .'],
])('%s', (_, current, live, expected) => {
  const before = new Map(current === '' ? [] : [['blog', slots(current)]]);
  expect(written(planSlots(before, [route('blog', live)]).get('blog'))).toBe(expected);
});

test('what need not change is not touched', () => {
  const before = new Map([['blog', slots('a+ b- . .')]]);
  const after = planSlots(before, [route('blog', 'a')]);
  expect(after.get('blog')?.every((slot, index) => slot === before.get('blog')?.[index])).toBe(true);
});

test('a removed app drains, and its backend stays until something else needs a reload', () => {
  const before = new Map([
    ['blog', slots('a+ . . .')],
    ['gone', slots('. . . .')],
  ]);
  const after = planSlots(before, []);
  expect([...after].map(([name, list]) => [name, written(list)])).toEqual([
    ['blog', 'a- . . .'],
    ['gone', '. . . .'],
  ]);
  expect(isStructural(before, after)).toBe(false);
  const reloaded = planSlots(after, [route('shop', '')]);
  expect([...reloaded.keys()]).toEqual(['blog', 'shop']);
  expect(isStructural(after, reloaded)).toBe(true);
});

test('an app that replaces another one in the count is structural too', () => {
  expect(isStructural(new Map([['blog', slots('.')]]), new Map([['shop', slots('.')]]))).toBe(true);
  expect(isStructural(new Map([['blog', slots('.')]]), new Map([['blog', slots('. .')]]))).toBe(true);
});

test('hosts and paths are lower case, and the first app that claims one has it', () => {
  const routes = [
    route('blog', '', ['Blog.Test', 'www.test']),
    route('shop', '', ['www.test', 'www.test/Shop', '5000']),
  ];
  expect([...hostsOf(routes)]).toEqual([
    ['blog.test/', 'blog'],
    ['www.test/', 'blog'],
    ['www.test/shop/', 'shop'],
    ['5000', 'shop'],
  ]);
});

test.each([
  '',
  'a b',
  'a\nb',
  'a;b',
  '*.test',
  '-a',
  'a.',
  'a'.repeat(254),
  'a#b',
  '[::1]',
  'a.test/',
  'a.test//b',
  'a.test/b;c',
  'a.test/b c',
])('text that is no host name never reaches HAProxy: %j', (host) => {
  expect(() => hostsOf([route('blog', '', [host])])).toThrow('of app blog is not a host name');
});

test.each([
  ['blog.internal', 80],
  ['10.0.0.1', 0],
  ['10.0.0.1', 65_536],
  ['10.0.0.1', 1.5],
  ['10.0.0.1 disabled', 80],
])('an endpoint that cannot be dialled is refused: %s port %s', (address, port) => {
  expect(() => targetOf({ container: 'c', release: 1, address, port })).toThrow(
    'has no address the router can dial',
  );
});

test('IPv6 addresses are compared in one spelling', () => {
  expect(targetOf({ container: 'c', release: 1, address: 'FD00:0::0007', port: 80 })).toEqual({
    address: 'fd00::7',
    port: 80,
  });
});
