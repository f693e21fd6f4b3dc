// oxlint-disable no-control-regex -- control characters are what this file is about

/** One line of text from outside, safe to show: what is invisible or steers a terminal is spelled out. */
export function safeText(text: string, maxLength = 100): string {
  const shown = text.replace(unsafeCharacters, (character) => unicodeEscape(character));
  const characters = Array.from(shown);
  return characters.length <= maxLength ? shown : `${characters.slice(0, maxLength - 3).join('')}...`;
}

/**
 * One line that an app's build or container printed. Escape sequences are removed, colours too: what they hide or
 * repaint could pass for ours. A progress bar shows its last state.
 */
export function sanitiseOutput(line: string): string {
  if (!anyControl.test(line)) return line;
  const plain = line.replace(escapeSequences, '').replace(/[\r\n]+$/, '');
  const lastState = plain.slice(plain.lastIndexOf('\r') + 1);
  return lastState.replace(strippedCharacters, '').replace(controlCharacters, hexEscape);
}

/** Controls, line separators, zero-width and bidirectional formatting, lone surrogates, tags. */
const unsafeCharacters = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u034f\u115f\u1160\u3164\uffa0]/gu;

/** OSC and other strings with their end, CSI, and the short ones; also when cut off, and in their 8-bit forms. */
const escapeSequences =
  /(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|$)|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?/g;

/** Most lines have none, and of a flood every microsecond counts. */
const anyControl = /[\0-\x08\x0a-\x1f\x7f-\x9f]/;
const strippedCharacters = /[\0\x07\x80-\x9f]/g;
const controlCharacters = /[\x01-\x08\x0a-\x1f\x7f]/g;

function unicodeEscape(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16);
  return hex.length <= 4 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`;
}

function hexEscape(character: string): string {
  return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}
