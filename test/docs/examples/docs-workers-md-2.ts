// From docs/workers.md, by `npm run docs`: do not edit.
import { createMemoryFleet } from '../../../lib/testing.ts';

const fleet = await createMemoryFleet({ backends: ['a', 'b'] });
await fleet.holdfast.put('k', 'content');
await fleet.settle(); // a minute after each round of the workers
console.log(await fleet.workers.status(), [...fleet.backends.b!.contents().keys()]);
await fleet.close();
export {};
