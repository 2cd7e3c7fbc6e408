import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { accessTo, type BackendKit } from './backend-access.ts';
import { copiesContract } from './backend-copies.ts';
import { listsContract } from './backend-lists.ts';
import { multipartContract } from './backend-multipart.ts';
import { objectsContract } from './backend-objects.ts';
import { writesContract } from './backend-writes.ts';

/** What every adapter of the backend port does. */
export function backendContract(name: string, setup: () => Promise<BackendKit>): void {
  describe(name, () => {
    let kit: BackendKit;
    beforeAll(async () => {
      kit = await setup();
    });
    beforeEach(() => kit.reset());
    afterAll(() => kit.close());

    const access = accessTo(() => kit);
    objectsContract(access);
    writesContract(access);
    copiesContract(access);
    listsContract(access);
    multipartContract(access);
  });
}
