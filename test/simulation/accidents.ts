import { markFor, markName } from '../../lib/transfer/mark.ts';
import type { ChaosDeps } from './deps.ts';
import { type Fault, windowFaults } from './faults.ts';
import { restoreQueueItem } from './old-queue-item.ts';
import type { Actor } from './operation.ts';
import { keyWithin, storageKeyOf } from './oracle/reading.ts';
import type { Random } from './random.ts';
import { flipped } from './sim-backend.ts';

/** What befalls backends and processes. Each does nothing in a history that does not have its fault. */
export interface Accidents {
  makeUnreachable(): void;
  storm(): void;
  deceive(): void;
  harm(): void;
  /** Somebody writes bytes with a mark of ours. */
  forge(): void;
  kill(): void;
  /** Kills a replicator whose commit is on its way, if there is one. */
  killCommitting(): boolean;
  freeze(): void;
  /** An operator restores the Queue table alone, and with it an item whose bytes are recorded. */
  restore(): void;
  /** A runtime ends its invocation at the deadline; one that was frozen past it may go on as a ghost. */
  endOverdueTicks(): void;
}

/** How often backends lose or spoil bytes in one history, or external clients write at keys of ours. */
const mostHarms = 3;
const harmful = ['bytes vanished', 'bytes rotted', 'delete marker left', 'key rewritten', 'headers rewritten'] as const;

const hourMs = 3_600_000;
const base32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** As anyone can make one, for any time. */
function ulidAt(ms: number, random: Random): string {
  const time = Array.from({ length: 10 }, (_, i) => base32[Math.floor(ms / 32 ** (9 - i)) % 32]);
  return [...time, ...Array.from({ length: 16 }, () => base32[random.below(32)])].join('');
}

export function createAccidents({ world, faults, plan, oracle, actors, surroundings, random }: ChaosDeps): Accidents {
  let harms = 0;

  /** A copy of an object that has so many good ones. Files of external clients change by their own hands. */
  function someCopy(minGood: number, isOurs = false): { backend: string; storageKey: string } | null {
    const all = [...oracle.objects.values()]
      .filter((entry) => entry.kind === 'object')
      .filter((entry) => oracle.goodCopies(entry).length >= minGood);
    if (all.length === 0) return null;
    const { key, copies } = random.pick(all);
    const backend = random.pick(Object.keys(copies));
    if (isOurs && copies[backend] === '') return null;
    return { backend, storageKey: storageKeyOf(key, copies[backend]!) };
  }

  /** Half of the time one that is writing: most trouble comes of that. */
  function someProcess(isClient: boolean): Actor | undefined {
    const all = world.actors.filter(
      ({ role, state }) => state === 'running' && role !== 'operator' && (role === 'client') === isClient,
    );
    const writing = all.filter(world.isWriting);
    const victims = writing.length > 0 && random.chance(0.5) ? writing : all;
    return victims.length === 0 ? undefined : random.pick(victims);
  }

  return {
    makeUnreachable() {
      const fault = random.pick(windowFaults);
      if (faults.isOn(fault))
        faults.openWindow(random.pick(plan.file.backends).name, fault, random.spread(100, 1_800_000));
    },
    storm() {
      if (faults.isOn('store storm')) faults.openStorm(random.spread(100, 600_000));
    },
    deceive() {
      const fault = random.pick(['wrong 404', 'key reads corrupted'] as const);
      const copy = faults.isOn(fault) ? someCopy(1) : null;
      if (copy !== null) faults.openLie(copy.backend, copy.storageKey, fault, random.spread(1_000, 3_600_000));
    },
    harm() {
      const possible = harmful.filter(faults.isOn);
      if (possible.length === 0) return;
      const fault: Fault = random.pick(possible);
      // Seldom the last good copy.
      const copy = faults.isOn(fault) && harms < mostHarms ? someCopy(random.chance(0.1) ? 1 : 2, true) : null;
      const bucket = copy === null ? undefined : surroundings.backends.get(copy.backend);
      const existing = copy === null ? undefined : bucket?.peek(copy.storageKey);
      if (copy === null || bucket === undefined || existing === undefined) return;
      if (fault === 'delete marker left' && !bucket.capabilities.keepsVersions) return;
      harms += 1;
      faults.count(fault);
      world.trace(() => `accident: ${fault}: ${copy.storageKey} on ${copy.backend}`);
      oracle.bytesHarmed(copy.backend, copy.storageKey);
      if (fault === 'bytes vanished') void bucket.delete([{ storageKey: copy.storageKey }]);
      else if (fault === 'delete marker left') bucket.deleteNow(copy.storageKey);
      else if (fault === 'key rewritten') {
        bucket.putNow(copy.storageKey, Buffer.from(`theirs ${world.step}`));
        oracle.rewritten(copy.backend, copy.storageKey);
      } else if (fault === 'headers rewritten')
        bucket.putNow(copy.storageKey, existing.bytes, {
          ...existing,
          headers: { contentType: `text/x-${world.step}` },
        });
      else bucket.putNow(copy.storageKey, flipped(existing.bytes, random, 'rest'), existing);
    },
    forge() {
      const objects = [...oracle.objects.values()].filter((entry) => entry.kind === 'object');
      if (!faults.isOn('mark forged') || objects.length === 0) return;
      faults.count('mark forged');
      const entry = random.pick(objects);
      const backend = random.pick(plan.file.backends).name;
      const later = ulidAt(world.now + random.pick([-1, 0, 1, 8760]) * hourMs, random);
      const storageKey = storageKeyOf(entry.key, ulidAt(world.now, random));
      // Of the object's own generation, of an older one, or of one that nobody has made yet.
      const generation = random.chance(0.3) ? entry.generation : later;
      const mark = markFor({ fleetId: surroundings.fleetId(), generation }, backend, storageKey);
      world.trace(() => `accident: mark forged: ${storageKey} on ${backend}, generation ${generation}`);
      const bytes = Buffer.from('forged '.repeat(random.between(1, 9)));
      surroundings.backends.get(backend)!.putNow(storageKey, bytes, { metadata: { [markName]: mark } });
      oracle.forged(backend, storageKey);
    },
    kill() {
      const fault: Fault = random.pick(['tick killed', 'client killed']);
      const victim = faults.isOn(fault) ? someProcess(fault === 'client killed') : undefined;
      if (victim === undefined) return;
      faults.count(fault);
      actors.kill(victim);
    },
    killCommitting() {
      const victims = world.actors.filter((a) => a.role === 'replicator' && world.isCommitting(a));
      if (!faults.isOn('tick killed') || victims.length === 0) return false;
      faults.count('tick killed');
      actors.kill(random.pick(victims));
      return true;
    },
    freeze() {
      const fault: Fault = random.pick(['tick frozen', 'client frozen']);
      const victim = faults.isOn(fault) ? someProcess(fault === 'client frozen') : undefined;
      if (victim === undefined) return;
      faults.count(fault);
      world.freeze(victim, random.spread(1_000, 7_200_000));
    },
    restore() {
      const fault = 'old queue item restored';
      const copy = faults.isOn(fault) ? someCopy(1, true) : null;
      if (copy === null) return;
      const { backend, storageKey } = copy;
      const key = keyWithin(storageKey);
      const entry = key === null ? undefined : oracle.objects.get(key);
      if (entry?.kind !== 'object' || oracle.queue.has(`${backend}/${storageKey}`)) return;
      faults.count(fault);
      restoreQueueItem({ world, oracle, surroundings }, { ...entry, backend, storageKey });
    },
    endOverdueTicks() {
      for (const running of actors.ticks) {
        if (running.endsAt > world.now || running.actor.state === 'frozen') continue;
        if (faults.isOn('tick past its deadline') && random.chance(0.5)) continue;
        faults.count('tick past its deadline');
        actors.kill(running.actor);
      }
    },
  };
}
