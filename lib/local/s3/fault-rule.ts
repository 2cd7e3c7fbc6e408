import type { FaultKind, FaultRule, Feature } from './faults.ts';

type FieldType = 'number' | 'string' | 'number?' | 'string?';

const FEATURES: readonly Feature[] = [
  'conditional-put',
  'conditional-completion',
  'conditional-copy',
  'conditional-delete',
  'checksum',
  'DeleteObjects',
  'CopyObject',
  'part-copy',
  'multipart',
  'versioning',
  'tagging',
  'start-after',
  'copy-condition',
];
const ANSWERS = [undefined, 'not-implemented', 'silently-ignore'];

/** Fields of each kind, beside `id`, `match` and `times`. */
const FIELDS: Record<FaultKind, Record<string, FieldType>> = {
  refuse: {},
  delay: { ms: 'number' },
  throttle: { perSecond: 'number?' },
  error: { status: 'number', code: 'string', message: 'string?' },
  truncate: { afterBytes: 'number' },
  corrupt: { atByte: 'number?', bytes: 'number?' },
  hang: { afterBytes: 'number?' },
  'ignore-expect': {},
  'reject-feature': { feature: 'string', answer: 'string?' },
  'lose-answer': {},
  'drop-metadata': {},
  'store-chunk-framing': {},
  'max-object-bytes': { bytes: 'number' },
  'hide-encoding': {},
  'loop-tokens': {},
  'refuse-keys': { pattern: 'string' },
  'refuse-nested': {},
  'resolve-paths': {},
  'name-versions': {},
  'forget-metadata': {},
  'fold-headers': {},
  'keep-truncated': {},
};
const MATCH_FIELDS = ['operation', 'bucket', 'key', 'keyPrefix'];

/** Checks a rule that came from another process; throws an Error that says what is wrong with it. */
export function assertFaultRule(value: unknown): asserts value is FaultRule {
  if (!isRecord(value)) throw new Error('A fault is a JSON object.');
  const { kind, id, match, times, ...rest } = value;
  const fields =
    typeof kind === 'string' ? (FIELDS as Record<string, Record<string, FieldType> | undefined>)[kind] : undefined;
  if (!fields)
    throw new Error(`Unknown kind of fault ${JSON.stringify(kind)}; known: ${Object.keys(FIELDS).join(', ')}.`);
  for (const [name, type] of Object.entries(fields)) assertType(name, rest[name], type);
  for (const name of Object.keys(rest)) {
    if (!(name in fields)) throw new Error(`A fault of kind "${kind}" has no field "${name}".`);
  }
  if (kind === 'reject-feature') {
    if (!FEATURES.some((feature) => feature === rest.feature)) {
      throw new Error(`Unknown feature ${JSON.stringify(rest.feature)}; known: ${FEATURES.join(', ')}.`);
    }
    if (!ANSWERS.some((answer) => answer === rest.answer))
      throw new Error(`Unknown answer ${JSON.stringify(rest.answer)}.`);
  }
  assertType('id', id, 'string?');
  assertType('times', times, 'number?');
  if (match === undefined) return;
  if (!isRecord(match)) throw new Error('"match" is a JSON object.');
  for (const [name, wanted] of Object.entries(match)) {
    if (!MATCH_FIELDS.includes(name)) throw new Error(`"match" has no field "${name}".`);
    const isList = name === 'operation' && Array.isArray(wanted) && wanted.every((one) => typeof one === 'string');
    if (typeof wanted !== 'string' && !isList) throw new Error(`"match.${name}" is not a string.`);
  }
}

function assertType(name: string, value: unknown, type: FieldType): void {
  if (value === undefined && type.endsWith('?')) return;
  const wanted = type.replace('?', '');
  if (typeof value !== wanted || (wanted === 'number' && !((value as number) >= 0))) {
    throw new Error(`"${name}" is ${JSON.stringify(value)}, not a ${wanted}.`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
