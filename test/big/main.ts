/**
 * Copies objects of up to 5 GiB over many ticks, each a process of its own with a deadline of 20 s, one of them killed, and
 * says what that took: not part of the suite, for it needs 15 GiB of disk and minutes. `npm run test:big -- [GiB]`
 */
import { setTimeout as delay } from 'node:timers/promises';
import { killTick, seenBy, sha256Of, startTick, streamed, transfersOf } from '../support/big.ts';
import { type Lab, openLab } from '../support/lab.ts';

const mib = 2 ** 20;
const partBytes = 8 * mib;
const concurrency = 8;
const mostRssBytes = 300 * mib;
const largest = Number(process.argv[2] ?? 5) * 1024 * mib;

const say = (text: string) => process.stdout.write(`${text}\n`);
const inMib = (bytes: number) => `${Math.round(bytes / mib)} MiB`;
const failures: string[] = [];
const check = (isSo: boolean, sentence: string) => {
  say(`  ${isSo ? 'ok  ' : 'FAIL'} ${sentence}`);
  if (!isSo) failures.push(sentence);
};

async function copyOnce(lab: Lab, key: string, sizeBytes: number, kills: number): Promise<number> {
  say(`${key}: ${inMib(sizeBytes)}`);
  const content = streamed(sizeBytes, key.length);
  const putAt = performance.now();
  const { sha256 } = await lab.holdfast.put(key, content, { timeoutMs: 3_600_000 });
  say(`  put in ${Math.round((performance.now() - putAt) / 1000)} s`);
  for (const { server } of lab.stack.backends) server.requests.clear();
  const startedAt = performance.now();
  let ticks = 0;
  let maxRssBytes = 0;
  let killed = 0;
  do {
    ticks += 1;
    const run = startTick(lab, ['--deadline', '20']);
    if (killed < kills && ticks > 1) {
      killed += 1;
      await delay(8_000);
      await killTick(lab, run);
      say(`  killed tick ${ticks}: ${(await transfersOf(lab))[0]?.transfer?.partsDone} parts done`);
      continue;
    }
    const ended = await run.ended;
    maxRssBytes = Math.max(maxRssBytes, ended!.maxRssBytes);
    const [item] = await transfersOf(lab);
    say(
      `  tick ${ticks}: ${ended!.report.outcome}, ${inMib(ended!.maxRssBytes)}, ${item?.transfer?.partsDone ?? 'all'} parts done`,
    );
  } while ((await transfersOf(lab)).length > 0);
  const seconds = (performance.now() - startedAt) / 1000;
  const parts = Math.ceil(sizeBytes / partBytes);
  const { count: sent } = seenBy(lab, 'UploadPart');
  const read = lab.stack.backends[0]!.server.requests.count({ operation: 'GetObject', status: 206 });
  say(
    `  ${ticks} ticks, ${Math.round(seconds)} s, ${(sizeBytes / mib / seconds).toFixed(0)} MiB/s, peak ${inMib(maxRssBytes)}`,
  );
  check(sent <= parts + killed * concurrency, `${parts} parts, ${sent} sent`);
  check(read <= parts + killed * concurrency, `${parts} parts, ${read} read`);
  const entry = (await lab.holdfastProcess.store.objects([key])).get(key);
  const copies = entry?.kind === 'object' ? Object.entries(entry.copies) : [];
  const hashes = await Promise.all(copies.map(([name, id]) => lab.hashOf(name, `${key}!${id}`)));
  check(hashes.length === 2 && hashes.every((hash) => hash === sha256), 'both copies are byte-identical');
  check(sha256 === (await sha256Of(content.open())), 'and what was put');
  check(maxRssBytes <= mostRssBytes, `no tick held more than ${inMib(mostRssBytes)}`);
  await lab.holdfast.delete(key);
  return maxRssBytes;
}

const lab = await openLab({ REPLICATOR_CONCURRENCY: String(concurrency), CLEANUP_QUEUE_GRACE_SECONDS: '0' });
try {
  const small = await copyOnce(lab, 'just-big', 64 * mib + 1, 0);
  const large = await copyOnce(lab, 'largest', largest, 1);
  check(large <= small * 1.2, `memory is flat: ${inMib(small)} for 64 MiB, ${inMib(large)} for ${inMib(largest)}`);
} finally {
  await lab.close();
}
if (failures.length > 0) process.exitCode = 1;
