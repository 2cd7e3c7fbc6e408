// From README.md, by `npm run docs`: do not edit.
import { createHoldfast } from '../../../lib/index.ts';

const holdfast = createHoldfast(); // finds its tables through the environment, like the command line
await holdfast.put('photos/cat.txt', 'meow', { headers: { contentType: 'text/plain' } });
const object = await holdfast.get('photos/cat.txt');
if (object === null) throw new Error('there is no such object');
for await (const chunk of object.body) process.stdout.write(chunk); // ends only once its hash was found right
for await (const { key, sizeBytes } of holdfast.list('photos/')) console.log(key, sizeBytes);
await holdfast.delete('photos/cat.txt');
await holdfast.close();
export {};
