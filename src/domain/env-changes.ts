/** Which variables differ from those before; their names only, since values are secret. */
export type EnvChanges = {
  added: readonly string[];
  changed: readonly string[];
  removed: readonly string[];
};

type Env = Readonly<Record<string, string>>;

export function envChanges(before: Env, after: Env): EnvChanges {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return {
    added: names.filter((name) => before[name] === undefined),
    changed: names.filter(
      (name) => before[name] !== undefined && after[name] !== undefined && before[name] !== after[name],
    ),
    removed: names.filter((name) => after[name] === undefined),
  };
}

/** `+ADDED ~CHANGED -REMOVED`; empty when nothing differs. */
export function showEnvChanges({ added, changed, removed }: EnvChanges): string {
  return [
    ...added.map((name) => `+${name}`),
    ...changed.map((name) => `~${name}`),
    ...removed.map((name) => `-${name}`),
  ].join(' ');
}
