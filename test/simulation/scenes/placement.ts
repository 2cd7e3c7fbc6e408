import { placesOf } from '../oracle/reading.ts';
import { Violation } from '../oracle/violation.ts';
import type { Stage } from './stage.ts';

const minute = 60_000;

/** A policy no longer allows a backend, and asks for more copies: none comes to it, and those there leave. */
export async function backendExcluded(stage: Stage): Promise<boolean> {
  const { oracle, random } = stage;
  if (!(await stage.isReady())) return false;
  // Often the one that would be the first to get copies.
  const excluded = random.chance(0.6) ? stage.names()[0]! : random.pick(stage.names());
  const allowed = stage.names().filter((name) => name !== excluded);
  for (const backend of allowed.slice(0, 2)) {
    await stage.apply(stage.roomyFile(1, { backends: [backend] }));
    await stage.putNew(1, 30);
  }
  const before = stage.namedOn(excluded);
  await stage.apply(stage.roomyFile(2, { excludeBackends: [excluded] }));
  // A place that a dead tick's transfer holds is free in the second round alone, and taken in the third.
  for (const ms of [0, 7, 30].map((n) => n * minute)) {
    await stage.idle(ms);
    await stage.tick('replicator');
    const [added] = [...stage.namedOn(excluded)].filter((place) => !before.has(place));
    if (added !== undefined)
      throw new Violation('placement', `"${added}" is recorded on ${excluded}, where its policy allows none`);
    await stage.tick('over-replication-cleaner');
  }
  const isOurs = (entry: { readonly copies: Readonly<Record<string, string>> }) =>
    Object.values(entry.copies).every((copyId) => copyId !== '');
  for (const entry of oracle.objects.values()) {
    if (entry.kind !== 'object' || entry.condition !== 'sound' || !isOurs(entry)) continue;
    if (oracle.goodCopies(entry).length < Object.keys(entry.copies).length) continue;
    const names = Object.keys(entry.copies);
    if (names.includes(excluded) || names.length !== 2)
      throw new Violation('placement', `"${entry.key}" stands on ${names.join(', ')}`, entry.key);
  }
  await stage.apply(stage.roomyFile(2));
  return true;
}

/** A backend is full, and the one with room stands beside the other copy: what is apart stays apart. */
export async function movedApart(stage: Stage): Promise<boolean> {
  const { oracle, random } = stage;
  if (!(await stage.isReady())) return false;
  const [first, second, third] = random.shuffled(stage.names()) as [string, string, string];
  const roomy = stage.roomyFile(2, { backends: [first, third], spreadOver: 'provider' });
  const labelled = {
    ...roomy,
    backends: roomy.backends.map((one) => ({ ...one, labels: { provider: one.name === third ? 'q' : 'p' } })),
  };
  await stage.apply(labelled);
  const record = await stage.putNew(2, 40);
  if (record === undefined) return false;
  stage.tune({ REBALANCER_STRATEGY: 'spread' });
  const full = Math.ceil(oracle.usedBytes(third) * 1.1) + 1;
  const quotaOf = (name: string) => (name === third ? full : name === second ? 10_000_000 : 0);
  const policies = stage.roomyFile(2, { spreadOver: 'provider' }).policies;
  const tight = {
    ...labelled,
    policies,
    backends: labelled.backends.map((one) => ({ ...one, quotaBytes: quotaOf(one.name) })),
  };
  await stage.apply(tight);
  await stage.tick('rebalancer');
  const now = stage.recordOf(record.key)!;
  const places = placesOf(tight, now.key, Object.keys(now.copies));
  if (now.generation === record.generation && places < 2)
    throw new Violation(
      'placement',
      `"${now.key}" was moved to ${Object.keys(now.copies).join(', ')}, at one provider`,
      now.key,
    );
  stage.tune({});
  await stage.apply(stage.roomyFile(2));
  return true;
}
