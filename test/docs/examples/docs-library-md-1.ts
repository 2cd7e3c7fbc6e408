// From docs/library.md, by `npm run docs`: do not edit.
import { createHoldfast, HoldfastError } from '../../../lib/index.ts';

const holdfast = createHoldfast();

const put = await holdfast.put('photos/cat.txt', 'meow', {
  headers: { contentType: 'text/plain' },
  metadata: { colour: 'grey' },
});
console.log(put.generation, put.sizeBytes, put.sha256);

const object = await holdfast.get('photos/cat.txt');
if (object === null) throw new Error('there is no cat');
const chunks = [];
for await (const chunk of object.body) chunks.push(chunk);
console.log(Buffer.concat(chunks).toString(), object.headers, object.metadata);

for await (const { key, sizeBytes } of holdfast.list('photos/')) console.log(key, sizeBytes);

try {
  await holdfast.put('', 'no key');
} catch (error) {
  if (!(error instanceof HoldfastError)) throw error;
  console.log(error.kind, error.message);
}

console.log(await holdfast.delete('photos/cat.txt'));
await holdfast.close();
export {};
