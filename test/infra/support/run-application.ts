import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { createHoldfast } from '../../../lib/index.ts';

/**
 * An application in a process of its own, as a fleet's users write them: node run-application.ts <part>. Its outcome is the
 * last line. Small objects, and big ones in parts.
 */
const parts: Readonly<Record<string, () => Promise<unknown>>> = { life, anotherCopy, failingSource };
const big = Buffer.alloc(6_000_000, 'a');
const holdfast = createHoldfast();

async function life(): Promise<unknown> {
  await holdfast.put('app/small', 'one', { metadata: { kind: 'small' }, copies: 2 });
  await holdfast.put('app/small', 'two');
  await holdfast.put('app/big', big, { copies: 2 });
  const dir = mkdtempSync(join(tmpdir(), 'holdfast-application-'));
  const file = await holdfast.getFile('app/big', join(dir, 'big'));
  rmSync(dir, { recursive: true });
  const keys: string[] = [];
  for await (const { key } of holdfast.list('app/')) keys.push(key);
  const head = await holdfast.head('app/small');
  const content = await contentOf('app/small');
  const isDeleted = [await holdfast.delete('app/small'), await holdfast.delete('app/small')];
  await holdfast.undelete('app/small');
  const back = await contentOf('app/small');
  return { bigBytes: file?.sizeBytes, keys, headBytes: head?.sizeBytes, content, isDeleted, back };
}

/** What a reader does about a copy that is not what is recorded. */
async function anotherCopy(): Promise<unknown> {
  const content = await holdfast.read('app/wrong', ({ body }) => text(Readable.from(body)));
  return { content, missing: await contentOf('app/gone') };
}

/** It is read once to know its hash, and once more to be stored. */
async function failingSource(): Promise<unknown> {
  let times = 0;
  const open = async function* () {
    times += 1;
    yield big.subarray(0, 5_500_000);
    if (times > 1) throw new Error('the source broke');
    yield big.subarray(5_500_000);
  };
  return holdfast.put('app/broken', { sizeBytes: big.length, open: () => Readable.from(open()) }).catch(String);
}

async function contentOf(key: string): Promise<string | undefined> {
  const found = await holdfast.get(key);
  return found === null ? undefined : text(Readable.from(found.body));
}

let outcome: unknown;
try {
  outcome = { result: await parts[process.argv[2]!]!() };
  await holdfast.close();
} catch (error) {
  outcome = { error: { name: (error as Error).name, message: (error as Error).message } };
}
process.stdout.write(`\n${JSON.stringify(outcome)}\n`, () => process.exit());
