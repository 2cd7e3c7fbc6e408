import type { Capabilities } from '../backend.ts';

/** Capabilities of taking keys of some form. */
export type KeyForm =
  | 'takesDotSegments'
  | 'takesEmptySegments'
  | 'takesTrailingSlash'
  | 'takesBackslashes'
  | 'takesControlCharacters';

interface Form {
  readonly capability: KeyForm;
  /** Of a key in the bucket, the prefix included. */
  readonly pattern: RegExp;
  readonly what: string;
}

/** Forms of keys that some servers refuse, or take for paths and store as others. */
const forms: readonly Form[] = [
  { capability: 'takesDotSegments', pattern: /(^|\/)\.\.?(\/|$)/, what: '"." or ".." between two slashes' },
  { capability: 'takesEmptySegments', pattern: /^\/|\/\//, what: 'nothing between two slashes' },
  { capability: 'takesTrailingSlash', pattern: /\/$/, what: 'a slash at its end' },
  { capability: 'takesBackslashes', pattern: /\\/, what: 'a backslash' },
  {
    capability: 'takesControlCharacters',
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are the keys it looks for
    pattern: /[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/,
    what: 'characters that print nothing',
  },
];

/** What of a key is known not to be taken there; undefined where nothing is. */
export function formNotTaken(key: string, can: Capabilities): string | undefined {
  return forms.find(({ capability, pattern }) => can[capability] === false && pattern.test(key))?.what;
}
