/** Variables as a Lua script copied them: names and sealed values in turn; an empty list is `{}` in Redis' JSON. */
export function parseSealedEnv(text: string | null): Record<string, string> {
  const flat = JSON.parse(text ?? '[]') as unknown;
  const entries = Array.isArray(flat) ? (flat as string[]) : [];
  const env: Record<string, string> = Object.create(null) as Record<string, string>;
  for (let index = 0; index + 1 < entries.length; index += 2)
    env[entries[index] ?? ''] = entries[index + 1] ?? '';
  return env;
}
