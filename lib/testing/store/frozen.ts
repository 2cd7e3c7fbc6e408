/** A deep, frozen copy of plain data, without the fields that are undefined: what a write to DynamoDB would keep. */
export function frozenCopy<T>(value: T): T;
export function frozenCopy(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return Object.freeze(value.filter((entry) => entry !== undefined).map(frozenCopy));
  const copy: Record<string, unknown> = {};
  for (const name in value) {
    const field = (value as Record<string, unknown>)[name];
    if (field !== undefined) copy[name] = typeof field === 'object' ? frozenCopy(field) : field;
  }
  return Object.freeze(copy);
}
