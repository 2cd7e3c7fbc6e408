import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { StoreError } from '../port.ts';

/** An item as DynamoDB holds it. */
export type Item = Record<string, AttributeValue>;

/**
 * Attributes as an item; absent optionals are not stored. Written here because the SDK's own conversion refuses maps
 * with a key "constructor", which is a good name of a backend.
 */
export function itemOf(attributes: object): Item {
  const item: Item = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) item[name] = attributeOf(value, name);
  }
  return item;
}

function attributeOf(value: unknown, name: string): AttributeValue {
  switch (typeof value) {
    case 'string':
      return { S: value };
    case 'number':
      if (Number.isFinite(value)) return { N: String(value) };
      break;
    case 'boolean':
      return { BOOL: value };
    case 'object':
      if (value === null) return { NULL: true };
      if (Array.isArray(value)) return { L: value.filter(isDefined).map((entry) => attributeOf(entry, name)) };
      return { M: itemOf(value) };
  }
  throw new StoreError('rejected', `Cannot store attribute "${name}": ${String(value)} is a ${typeof value}`);
}

/** The attributes of an item. Throws an error that names the attribute when one has no value in JavaScript. */
export function attributesOf(item: Item): Record<string, unknown> {
  const attributes: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(item)) attributes[name] = jsValueOf(value, name);
  return attributes;
}

function jsValueOf(value: AttributeValue, name: string): unknown {
  if (value.S !== undefined) return value.S;
  if (value.N !== undefined) return numberOf(value.N, name);
  if (value.M !== undefined) return attributesOf(value.M);
  if (value.BOOL !== undefined) return value.BOOL;
  if (value.L !== undefined) return value.L.map((entry) => jsValueOf(entry, name));
  if (value.NULL !== undefined) return null;
  throw new UnreadableAttribute(name, `type ${Object.keys(value)[0]} is not one that Holdfast writes`);
}

function numberOf(text: string, name: string): number {
  const number = Number(text);
  const isExact = Number.isFinite(number) && (Math.abs(number) <= Number.MAX_SAFE_INTEGER || !Number.isInteger(number));
  if (isExact) return number;
  throw new UnreadableAttribute(name, `${text} is beyond 2^53`);
}

/** An attribute that no version of Holdfast writes. */
export class UnreadableAttribute extends Error {
  override readonly name = 'UnreadableAttribute';
  readonly attribute: string;
  constructor(attribute: string, problem: string) {
    super(problem);
    this.attribute = attribute;
  }
}

function isDefined(value: unknown): boolean {
  return value !== undefined;
}
