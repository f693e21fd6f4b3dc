/** Rules for names and values of an app's variables (Clever Cloud: ASCII letters, digits, underscore, no digit first). */
const maxValueBytes = 1024 ** 2;

export function problemWithEnvName(name: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(name) || name === '__proto__') {
    return 'the name of a variable has letters, digits and underscores and does not start with a digit';
  }
  return undefined;
}

export function problemWithEnvValue(name: string, value: string): string | undefined {
  if (value.includes('\0')) return `${name} holds a NUL byte, which no environment can carry`;
  if (Buffer.byteLength(value) > maxValueBytes) return `${name} is larger than 1 MiB`;
  return undefined;
}

/** The kernel refuses a longer `NAME=value`; every command with it would fail with "argument list too long". */
const execLimit = 131_071;

export function tooLongToRun(env: Readonly<Record<string, string>>): string | undefined {
  return Object.keys(env).find((name) => Buffer.byteLength(`${name}=${env[name]}`) > execLimit);
}
