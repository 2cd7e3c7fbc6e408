/**
 * Characters that change what a person sees without being seen themselves: control characters, line and paragraph separators,
 * bidirectional and other format controls, fillers, tags and selectors, halves of characters. A backend, a file name or a key
 * may hold any of them.
 */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Default_Ignorable_Code_Point}]/gu;

/** Text for a terminal: what would be unseen is written out (`\u001b`). Line breaks stay, unless it must be one line. */
export function printable(text: string, lines: 'lines' | 'one-line' = 'lines'): string {
  return text.replace(unseen, (c) => (c === '\n' && lines === 'lines' ? c : codeOf(c)));
}

/** JSON in which nothing is unseen; it means the same. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(unseen, (c) => (c === '\n' ? c : codeOf(c)));
}

function codeOf(c: string): string {
  return c.replace(/[\s\S]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
