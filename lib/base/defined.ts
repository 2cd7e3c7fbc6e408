/** Fields that may be undefined, as optional ones that are absent instead. */
type Defined<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The fields that have a value: an optional field is absent, or it has one. */
export function defined<T extends object>(fields: T): Defined<T> {
  const present: Partial<T> = {};
  // Called several times with every request: without the lists that entries and filters make.
  for (const name of Object.keys(fields) as (keyof T)[]) if (fields[name] !== undefined) present[name] = fields[name];
  return present as object as Defined<T>;
}
