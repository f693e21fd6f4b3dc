/** What stands in the place of a secret. */
const hidden = '(hidden)';

const shortest = 8;
const pieceLength = 1000;

/** Values of these are switches and paths, and are shown; every other variable of an app may be a secret. */
function isSetting(name: string): boolean {
  return name.startsWith('CC_') && !/PASSWORD|KEY|SECRET|TOKEN/.test(name);
}

/**
 * Returns a function that hides the values of an app's variables in a line of text: as they are, and as base64, URL,
 * JSON or a literal of a programming language would write them. Values under eight characters are left, hiding them would shred the log.
 */
export function maskValues(env: Readonly<Record<string, string>>): (text: string) => string {
  const needles = new Set<string>();
  for (const [name, value] of Object.entries(env)) {
    if (isSetting(name)) continue;
    for (const line of value.split(/\r?\n/)) {
      if (line.trim().length < shortest) continue;
      for (const piece of pieces(line)) {
        needles.add(piece);
        needles.add(encodeURIComponentSafely(piece));
        const json = JSON.stringify(piece).slice(1, -1);
        needles.add(json);
        // As console.log and repr write texts: in the quotes that need the fewest backslashes.
        const literal = json.replaceAll('\\"', '"');
        needles.add(literal);
        needles.add(literal.replaceAll("'", "\\'"));
      }
    }
    if (value.length >= shortest)
      for (const piece of pieces(Buffer.from(value).toString('base64').replace(/=+$/, '')))
        needles.add(piece);
  }
  if (needles.size === 0) return (text) => text;
  const longestFirst = [...needles].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(
    longestFirst.map((needle) => needle.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'),
    'g',
  );
  return (text) => text.replace(pattern, hidden);
}

/** A long value may be cut by the limit on a line, so each part of it is hidden for itself. */
function pieces(value: string): string[] {
  const found: string[] = [];
  for (let start = 0; start < value.length; start += pieceLength) {
    const piece = value.slice(start, start + pieceLength);
    if (piece.length >= shortest) found.push(piece);
  }
  return found;
}

function encodeURIComponentSafely(text: string): string {
  try {
    return encodeURIComponent(text);
  } catch {
    return text; // a lone surrogate, which no URL can carry either
  }
}
