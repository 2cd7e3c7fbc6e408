import { after, field, first, instead, variable, withoutGuard, withoutOperand } from './edits.ts';
import type { Mutant } from './mutated.ts';

/** Leases, breakers, usage and limits, and whose turn it is. */
export const turnsMutants: readonly Mutant[] = [
  { name: 'a lease ends before its tick', edits: [instead('runWithLease', ['deadline', 'at'], 'tick.now()')] },
  { name: 'half-open admits two probes', edits: [withoutGuard('mayAsk', 'done')] },
  {
    name: 'a probe that is out keeps no other back',
    edits: [instead('mayProbe', ['breakerPosition', 'open'], "breakerPosition(state, now) !== 'closed'")],
  },
  { name: 'a probe is sent without delay', edits: [field('observe', 'probeAfter', 'now')] },
  {
    name: 'every failed probe of an unreachable backend starts its time of being unhealthy anew',
    edits: [field('observe', 'unhealthySince', 'now')],
  },
  {
    name: 'a half-open breaker lets everyone through',
    edits: [
      instead('health#mayAskAgain', ['breaker', 'closed'], "tick.standing(name).breaker !== 'open'"),
      instead('backends#mayAsk', ['breaker', 'closed'], "tick().standing(name).breaker !== 'open'"),
    ],
  },
  { name: 'an unclear error is taken for the backend', edits: [first('verdictOf', "return 'backend';")] },
  { name: 'an unclear error is taken for the object', edits: [first('verdictOf', "return 'object';")] },
  { name: 'a refused health check counts for nothing', edits: [variable('checkHealth', 'isExcused', 'true')] },
  { name: 'a probe is left to the replicator', edits: [first('probeDueBreakers', 'return;')] },
  {
    name: 'what was begun on a backend goes on, although it is known to be unreachable',
    edits: [instead('mayAsk', ['breaker', 'probes'], 'true')],
  },
  {
    name: 'an answer closes a breaker that was opened after it',
    edits: [withoutOperand('observe', 'succeededAt', 'openedAt')],
  },
  {
    name: 'what a backend sends is charged as what it receives',
    edits: [instead('createMeter', ['add', 'egressBytes'], 'add(name, { ingressBytes: egressBytes })')],
  },
  {
    name: 'usage that may be written is written again',
    edits: [field('drain', 'token', 'ids.ulid(), get token() { return ids.ulid(); }')],
  },
  {
    name: 'usage that could not be written is forgotten',
    edits: [instead('drain', ['enter'], '(() => {})')],
  },
  {
    name: 'an idle tick forgets what it spent',
    edits: [instead('reportUsage', ['enter', 'spent'], 'tick.lease !== null && $')],
  },
  {
    name: 'usage is charged to the hour in which it is written',
    edits: [
      first(
        'usage-book#drain',
        `const now = new Date(clock.now()).toISOString().slice(0, 13);
         for (const [hour, backends] of [...open]) { open.delete(hour); enter(now, Object.fromEntries(backends)); }`,
      ),
    ],
  },
  {
    name: 'what others hold of a limit is free',
    edits: [field('learn', 'others', 'noUsage')],
  },
  {
    name: 'what is held covers whatever is asked',
    edits: [variable('covers', 'needed', 'noUsage')],
  },
  {
    name: 'a portion is given back before what it was spent on is written down',
    edits: [
      first(
        'reportUsage',
        'for (const [name, usage] of tick.spending.take()) tick.spending.written(new Map([[name, usage]])); await tick.spending.release();',
      ),
    ],
  },
  {
    name: 'spent requests of class A hold nothing back',
    edits: [variable('exceeded', 'most', "field === 'classA' ? 0 : $")],
  },
  { name: 'dollars limit nothing', edits: [variable('exceeded', 'most', "field === 'usd' ? 0 : $")] },
  {
    name: 'limits go by the days of UTC',
    edits: [first('limitsIn', "limitsReset = { ...limitsReset, zone: 'UTC' };")],
  },
  {
    name: 'days of limits begin at midnight',
    edits: [first('limitsIn', 'limitsReset = { ...limitsReset, hour: 0 };')],
  },
  {
    name: 'what is never refused is no part of what is spent, until it is written down',
    edits: [
      instead('meter#pay', ['charge', 'price'], 'undefined'),
      instead('meter#send', ['settle', 'streamed'], 'asked.isFree || $'),
    ],
  },
  {
    name: 'a spent limit refuses deletions',
    edits: [instead('createSpending', ['neverRefused', 'asked', 'method'], "$ && asked.method !== 'delete'")],
  },
  {
    name: 'a spent limit refuses reads of applications',
    edits: [instead('createContext', ['writing', 'method'], 'true')],
  },
  {
    name: 'every request is charged as a read',
    edits: [variable('chargeOf', 'billed', "'B'")],
  },
  { name: 'a tick plays one round, whatever is left', edits: [after('runRounds', ['run', 'done'], 'return;')] },
  { name: 'a tick ends behind the last lane, whatever it holds', edits: [withoutOperand('findDue', 0)] },
  {
    name: 'a tick returns while reads are in flight',
    edits: [instead('findDue', ['allEnded'], 'Promise.all.bind(Promise)')],
  },
  { name: 'an idle tick takes the lease', edits: [withoutGuard('runWithLease', 'empty')] },
];
