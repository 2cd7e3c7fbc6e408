/**
 * Characters that change what a person sees without being seen themselves: control characters, line and paragraph separators,
 * bidirectional controls, and what has no width. A backend, a file name or a key may hold any of them.
 */
const unseen =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are the ones that must not reach a terminal
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text for a terminal: what would be unseen is written out (`\u001b`). Line breaks stay, unless it must be one line. */
export function printable(text: string, lines: 'lines' | 'one-line' = 'lines'): string {
  return text.replace(unseen, (c) => (c === '\n' && lines === 'lines' ? c : codeOf(c)));
}

/** JSON in which nothing is unseen; it means the same. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(unseen, (c) => (c === '\n' ? c : codeOf(c)));
}

function codeOf(c: string): string {
  return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
