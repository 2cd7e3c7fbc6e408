/** An invariant that does not hold, with the object it was seen on. */
export class Violation extends Error {
  override readonly name = 'Violation';
  readonly invariant: string;
  readonly key: string | undefined;
  constructor(invariant: string, message: string, key?: string) {
    super(message);
    this.invariant = invariant;
    this.key = key;
  }
}
