/**
 * Runs `step` over `items`, at most `concurrency` at a time, in order of admission.
 * Every step that was started is awaited, even when another one throws; the first error is then thrown.
 */
export async function forEachConcurrently<T>(
  items: Iterable<T>,
  concurrency: number,
  step: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const errors: unknown[] = [];
  const lane = async () => {
    for (let next = iterator.next(); !next.done && errors.length === 0; next = iterator.next()) {
      try {
        await step(next.value);
      } catch (error) {
        errors.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, concurrency) }, lane));
  if (errors.length > 0) throw errors[0];
}
