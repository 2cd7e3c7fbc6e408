import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Body, collect } from '../../lib/base/bytes.ts';
import { shareReading } from '../../lib/base/share-reading.ts';

/** Content of which it is known how often it was opened, and how many of those readings are still open. */
function content(chunks: readonly string[], failsAt = Number.POSITIVE_INFINITY) {
  const seen = { opened: 0, open: 0 };
  async function* open(): Body {
    seen.open += 1;
    // One piece of memory for all chunks, as some streams do.
    const memory = Buffer.alloc(100);
    try {
      for (const [i, chunk] of chunks.entries()) {
        if (i === failsAt) throw new Error('The file went away');
        yield memory.subarray(0, memory.write(chunk));
      }
    } finally {
      seen.open -= 1;
    }
  }
  return {
    seen,
    open: () => {
      seen.opened += 1;
      return open();
    },
  };
}

const text = async (body: Body) => (await collect(body)).toString();

test('several readers are given the content of one reading', async () => {
  const { open, seen } = content(['one ', 'two ', 'three']);
  const { bodies } = shareReading(open, 3);
  expect(await Promise.all(bodies.map(text))).toEqual(Array(3).fill('one two three'));
  expect(seen).toEqual({ opened: 1, open: 0 });
});

test('a reader that stands still holds up nobody: it reads the content anew from where it was', async () => {
  const { open, seen } = content(['aaaa', 'bbbb', 'cccc', 'dddd']);
  const { bodies, close } = shareReading(open, 2, 8);
  const slow = bodies[1]![Symbol.asyncIterator]();
  const first = (await slow.next()).value;
  expect(Buffer.from(first!).toString()).toBe('aaaa');
  expect(await text(bodies[0]!)).toBe('aaaabbbbccccdddd');
  const rest: Buffer[] = [];
  for (let step = await slow.next(); !step.done; step = await slow.next()) rest.push(Buffer.from(step.value));
  expect(Buffer.concat(rest).toString()).toBe('bbbbccccdddd');
  await close();
  expect(seen).toEqual({ opened: 2, open: 0 });
});

test('an error of the content reaches every reader, and a reader that leaves costs the others nothing', async () => {
  const failing = shareReading(content(['a', 'b'], 1).open, 2);
  const ends = await Promise.allSettled(failing.bodies.map(text));
  expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected']);

  const { open, seen } = content(['a', 'b', 'c']);
  const { bodies } = shareReading(open, 2);
  await bodies[0]![Symbol.asyncIterator]().return?.();
  expect(await text(bodies[1]!)).toBe('abc');
  expect(seen.open).toBe(0);
});

test('whatever readers do in whatever order, each is given the whole content or leaves, and nothing stays open', async () => {
  const scenario = fc.record({
    sizes: fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 8 }),
    window: fc.integer({ min: 1, max: 40 }),
    readers: fc.integer({ min: 1, max: 4 }),
    turns: fc.array(fc.tuple(fc.nat(3), fc.boolean()), { maxLength: 60 }),
  });
  await fc.assert(
    fc.asyncProperty(scenario, async ({ sizes, window, readers, turns }) => {
      const chunks = sizes.map((size, i) => String.fromCharCode(97 + i).repeat(size));
      const { open, seen } = content(chunks);
      const { bodies, close } = shareReading(open, readers, window);
      const each = bodies.map((body) => ({ steps: body[Symbol.asyncIterator](), got: '', isOver: false }));
      const step = async (one: (typeof each)[number]) => {
        const { done, value } = await one.steps.next();
        if (done) one.isOver = true;
        else one.got += Buffer.from(value).toString();
      };
      for (const [who, leaves] of turns) {
        const one = each[who % readers]!;
        if (one.isOver) continue;
        if (leaves && who === 3) {
          await one.steps.return?.();
          each.splice(each.indexOf(one), 1, { ...one, isOver: true, got: chunks.join('') });
        } else await step(one);
      }
      await Promise.all(
        each.map(async (one) => {
          while (!one.isOver) await step(one);
        }),
      );
      for (const { got } of each) expect(got).toBe(chunks.join(''));
      await close();
      expect(seen.open).toBe(0);
    }),
  );
});
