import { plural } from '../base/amounts.ts';
import { defined } from '../base/defined.ts';
import { keyIdsOf } from '../config/encryption.ts';
import { recoveryOf } from '../store/recovery.ts';
import type { BackendFigures, ConcernFigures, Overview, UsageFigures, WorkerFigures } from './protocol.ts';
import type { Fleet } from './readings.ts';

/** A quota of which so much is used takes nothing large any more. */
const nearlyFull = 0.95;

/** What needs a look besides objects. Pure. */
export function concernsOf(
  fleet: Fleet,
  { backends, workers, queue }: Pick<Overview, 'backends' | 'workers' | 'queue'>,
): ConcernFigures[] {
  const recovery = recoveryOf(fleet);
  const dead = queue.find(({ state }) => state === 'dead')?.objects ?? 0;
  const all = [
    ...(recovery !== undefined && recovery.completedAt === undefined ? [recoveryDue] : []),
    ...backends.flatMap(ofBackend),
    ...(dead > 0 ? [deadLetters(dead)] : []),
    ...unlistedKeys(fleet),
    ...workers.flatMap(ofWorker),
  ];
  return [...all.filter(({ tone }) => tone === 'bad'), ...all.filter(({ tone }) => tone === 'warn')];
}

const recoveryDue: ConcernFigures = {
  tone: 'bad',
  sentence: 'A recovery is due: the tables may know less than the buckets hold',
  why: 'Nothing is deleted or moved before `holdfast recover` is complete.',
  href: '#/workers',
};

function deadLetters(count: number): ConcernFigures {
  return {
    tone: 'bad',
    sentence: `${plural(count, 'deletion')} given up after many attempts`,
    why: 'The bytes are still there. The list says why; requeue tries them again.',
    href: '#/queue?state=dead',
  };
}

function unlistedKeys(fleet: Fleet): ConcernFigures[] {
  const listed = new Set(keyIdsOf(fleet.config.file));
  return [...fleet.keys()]
    .filter(([keyId]) => !listed.has(keyId))
    .map(([keyId, { objects }]) => ({
      tone: 'bad',
      sentence: `${plural(objects, 'object')} encrypted with key ${keyId}, which the fleet file does not list`,
      why: 'They cannot be read until it does.',
      href: '#/objects',
    }));
}

function ofBackend(backend: BackendFigures): ConcernFigures[] {
  const { name, isConfigured, breaker, reason, takesNoWrites, unrecorded, usedBytes, quotaBytes, usage = [] } = backend;
  const href = `#/backend/${encodeURIComponent(name)}`;
  const some: (ConcernFigures | false)[] = [
    !isConfigured && { tone: 'warn', sentence: `${name} left the fleet file with what it holds`, href },
    isConfigured &&
      breaker !== 'closed' && { tone: 'bad', sentence: `${name} does not answer`, href, ...defined({ why: reason }) },
    takesNoWrites !== undefined && {
      tone: 'bad',
      sentence: `${name} takes no writes`,
      why: takesNoWrites.message,
      href,
    },
    unrecorded > 0 && {
      tone: 'warn',
      sentence: `${plural(unrecorded, 'file')} of ours on ${name} whose object is unknown`,
      why: `They take room and are never deleted by themselves. \`holdfast reconcile ${name}\` names them.`,
      href,
    },
    quotaBytes > 0 &&
      usedBytes / quotaBytes >= nearlyFull && {
        tone: 'warn',
        sentence: `${name} has less than 5 % of its quota left`,
        href,
      },
  ];
  return [
    ...some.filter((one) => one !== false),
    ...usage.filter(({ allowed, used }) => allowed > 0 && used >= allowed).map((line) => spent(name, line, href)),
  ];
}

const names: Readonly<Record<UsageFigures['what'], string>> = {
  requests: 'requests',
  classA: 'class A requests',
  classB: 'class B requests',
  egressBytes: 'egress',
  ingressBytes: 'ingress',
  usd: 'dollars',
};

function spent(name: string, { what, per }: UsageFigures, href: string): ConcernFigures {
  return {
    tone: 'bad',
    sentence: `${name} has spent its ${names[what]} of the ${per}`,
    why: 'Workers and puts ask nothing more of it that the limit counts, until it is counted anew.',
    href,
  };
}

/** What its last ticks came to is in the table: an idle tick, after which all may be well again, leaves no trace. */
function ofWorker({ name, isPaused }: WorkerFigures): ConcernFigures[] {
  return isPaused ? [{ tone: 'warn', sentence: `The ${name} is paused`, href: '#/workers' }] : [];
}
