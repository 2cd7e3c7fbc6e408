import { afterAll, beforeAll, describe } from 'vitest';
import { changesContract } from './store-changes.ts';
import type { StoreLab } from './store-fixtures.ts';
import { leasesContract } from './store-leases.ts';
import { readsContract } from './store-reads.ts';

/** What every adapter of the storage port does, whichever it is. */
export function storeContract(name: string, setup: () => Promise<StoreLab>): void {
  describe(`store on ${name}`, () => {
    let lab: StoreLab;
    beforeAll(async () => {
      lab = await setup();
    });
    afterAll(async () => lab?.close());
    const fresh = async () => lab.fresh();

    changesContract(fresh);
    readsContract(fresh);
    leasesContract(fresh);
  });
}
