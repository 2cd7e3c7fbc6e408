import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { StoreError } from '../port.ts';

/** An item as DynamoDB holds it. */
export type Item = Record<string, AttributeValue>;

/**
 * Attributes as an item; absent optionals are not stored. Written here because the SDK's own conversion refuses maps
 * with a key "constructor", which is a good name of a backend.
 */
export function itemOf(attributes: object): Item {
  const defined = Object.entries(attributes).filter(([, value]) => isDefined(value));
  // Not by assignment, which takes the key "__proto__" for something else.
  return Object.fromEntries(defined.map(([name, value]) => [name, attributeOf(value, name)]));
}

function attributeOf(value: unknown, name: string): AttributeValue {
  switch (typeof value) {
    case 'string':
      return { S: value };
    case 'number':
      if (isExact(value)) return { N: String(value) };
      throw new StoreError('rejected', `Cannot store attribute "${name}": ${value} is not a number below 2^53`);
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
  return Object.fromEntries(Object.entries(item).map(([name, value]) => [name, jsValueOf(value, name)]));
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
  if (isExact(number)) return number;
  throw new UnreadableAttribute(name, `${text} is beyond 2^53`);
}

/** Whether a number is the same in JavaScript and in DynamoDB: whole ones below 2^53 are, and fractions as they are printed. */
function isExact(number: number): boolean {
  return Number.isFinite(number) && (Number.isSafeInteger(number) || !Number.isInteger(number));
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
