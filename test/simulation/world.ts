import type { Clock } from '../../lib/base/clock.ts';
import { type Actor, type Call, describe, errorText, type Fate, type Operation, summary } from './operation.ts';
import type { Random } from './random.ts';

interface Sleeper {
  readonly actor: Actor;
  readonly at: number;
  readonly wake: () => void;
}

/** Something that can happen next. */
type Choice = Operation | Sleeper;

export interface World {
  /** True time, milliseconds since the epoch. */
  readonly now: number;
  readonly step: number;
  /** The operation whose effect is happening in this step. */
  readonly current: Operation | null;
  readonly actors: readonly Actor[];
  spawn(name: string, role: string, skewMs: number): Actor;
  /** Ends an actor as returned; its unsettled operations, of which there should be none, are given back. */
  retire(actor: Actor): Operation[];
  kill(actor: Actor): void;
  freeze(actor: Actor, ms: number): void;
  clockOf(actor: Actor): Clock;
  ask<T>(actor: Actor, call: Call<T>): Promise<T>;
  /** Whether anything can happen at this moment. */
  isIdle(): boolean;
  pendingOf(actor: Actor): number;
  /** Whether anybody is asking a port about just this. */
  isAskedAbout(port: string, subject: string): boolean;
  /** Whether a transaction of it is on its way. */
  isCommitting(actor: Actor): boolean;
  /** The same, or bytes. */
  isWriting(actor: Actor): boolean;
  /** Whether it is about to send the bytes of an object. */
  isAboutToSend(actor: Actor): boolean;
  /** Whether it is asking how the fleet stands. */
  isReadingFleet(actor: Actor): boolean;
  /** Whether a request of this kind is on its way, without effect so far; `about`: one whose subject mentions this. */
  isAsking(actor: Actor, operation: string, about?: string): boolean;
  /** Its requests of one kind take so much longer. */
  delay(actor: Actor, operation: string, ms: number): void;
  /** Its requests of one kind have no effect, and it is told an error. */
  lose(actor: Actor, operation: string, error: Error): void;
  /** Its requests of one kind take effect after so long, whatever becomes of it. */
  leaveBehind(actor: Actor, operation: string, ms: number): void;
  /** One step: something that can happen, happens. False when nothing can. */
  advance(): boolean;
  /** Everything that can happen now happens, in some order, as one step: for times when nothing goes wrong. */
  advanceAll(): boolean;
  /** Lets time pass up to `ms`, but not past a timer; true when it passed entirely. */
  pass(ms: number): boolean;
  /** Time jumps to the next timer, thaw or slow answer; false when there is none. */
  jump(): boolean;
  /** Of the operations in the air without an owner some land now, some are lost, and some land at their own time. */
  settleDetached(): void;
  /** Whether anything is still in the air. */
  hasDetached(): boolean;
  thawAll(): void;
  trace(text: () => string): void;
}

export interface WorldOptions {
  readonly random: Random;
  readonly startAt: number;
  /** Told of every fate that is a fault. */
  readonly onFault: (fault: string) => void;
  /** Absent: nothing is traced. */
  readonly lines?: string[] | undefined;
}

/** Time, processes and the scheduler: one thing happens at a time, and the seed says which. */
export function createWorld({ random, startAt, onFault, lines }: WorldOptions): World {
  let now = startAt;
  let step = 0;
  let current: Operation | null = null;
  const operations: Operation[] = [];
  let sleepers: Sleeper[] = [];
  let actors: Actor[] = [];

  const isEligible = (operation: Operation): boolean => {
    if (operation.notBefore > now) return false;
    if (operation.isDetached) return true;
    return (
      operation.actor.state === 'running' || (operation.actor.state === 'frozen' && operation.answer === undefined)
    );
  };

  function thawDue(): void {
    for (const actor of actors) {
      if (actor.state !== 'frozen' || actor.thawsAt > now) continue;
      actor.state = 'running';
      trace(() => `${actor.name} goes on`);
    }
  }

  function choices(): Choice[] {
    thawDue();
    const all: Choice[] = operations.filter(isEligible);
    for (const sleeper of sleepers) if (sleeper.at <= now && sleeper.actor.state === 'running') all.push(sleeper);
    return all;
  }

  function advance(): boolean {
    const all = choices();
    if (all.length === 0) return false;
    step += 1;
    now += random.spread(1, 60);
    play(random.pick(all), 0.7);
    return true;
  }

  function advanceAll(): boolean {
    const all = choices();
    if (all.length === 0) return false;
    step += 1;
    now += random.between(1, 20);
    for (const chosen of random.shuffled(all)) play(chosen, 1);
    return true;
  }

  /** `prompt`: how likely an answer comes back in the step of its effect. */
  function play(chosen: Choice, prompt: number): void {
    if ('wake' in chosen) {
      sleepers = sleepers.filter((sleeper) => sleeper !== chosen);
      trace(() => `${chosen.actor.name} timer`);
      chosen.wake();
    } else if (chosen.answer !== undefined) deliver(chosen);
    else happen(chosen, prompt);
  }

  function happen(operation: Operation, prompt: number): void {
    const { actor, signal } = operation;
    if (!operation.isDetached && signal?.aborted) {
      // The request is out: it may still take effect.
      tell(operation, 'cancelled', operation.cancelled?.() ?? new Error('cancelled'));
      if (random.chance(0.5)) leave(operation, random.spread(10, 60_000));
      return;
    }
    const fate: Fate = operation.isDetached ? { kind: 'answered' } : (operation.fate?.() ?? { kind: 'answered' });
    if (fate.kind !== 'answered') {
      onFault(fate.fault);
      actor.hadFault = true;
    }
    switch (fate.kind) {
      case 'slow':
        operation.notBefore = now + fate.ms;
        operation.isSlowed = true;
        trace(() => `${describe(operation)} — ${fate.fault}, ${fate.ms} ms`);
        return;
      case 'refused':
        tell(operation, fate.fault, fate.error);
        return;
      case 'delayed':
        tell(operation, `${fate.fault}, ${fate.lands ? 'lands later' : 'never lands'}`, fate.error);
        if (fate.lands) leave(operation, fate.ms);
        return;
      case 'answer-lost':
        perform(operation, fate.fault).catch(() => {});
        tell(operation, fate.fault, fate.error);
        return;
      default: {
        const answer = perform(operation, operation.isDetached ? 'late' : '');
        answer.catch(() => {});
        if (operation.isDetached) {
          remove(operation);
        } else {
          operation.answer = answer;
          // A frozen process hears nothing until it goes on.
          if (actor.state === 'running' && random.chance(prompt)) deliver(operation);
        }
      }
    }
  }

  function perform(operation: Operation, how: string): Promise<unknown> {
    current = operation;
    try {
      const answer = operation.effect();
      if (lines !== undefined) {
        const record = (what: string) => trace(() => `${describe(operation)}${how && ` (${how})`} → ${what}`);
        answer.then(
          (value) => record(summary(value)),
          (error: Error) => record(errorText(error)),
        );
      }
      return answer;
    } finally {
      current = null;
    }
  }

  function deliver(operation: Operation): void {
    remove(operation);
    operation.answer!.then(operation.resolve, operation.reject);
  }

  function tell(operation: Operation, fault: string, error: Error): void {
    trace(() => `${describe(operation)} — ${fault} → ${errorText(error)}`);
    remove(operation);
    operation.reject(error);
  }

  /** The operation stays in the air, without its caller. */
  function leave(operation: Operation, ms: number): void {
    operations.push({ ...operation, answer: undefined, isDetached: true, notBefore: now + ms });
  }

  function remove(operation: Operation): void {
    const at = operations.indexOf(operation);
    if (at >= 0) operations.splice(at, 1);
  }

  function trace(text: () => string): void {
    lines?.push(`${String(step).padStart(5)}  ${clockText(now - startAt)}  ${text()}`);
  }

  function dropOf(actor: Actor): Operation[] {
    const own = operations.filter((operation) => operation.actor === actor && !operation.isDetached);
    for (const operation of own) remove(operation);
    sleepers = sleepers.filter((sleeper) => sleeper.actor !== actor);
    actors = actors.filter((other) => other !== actor);
    return own;
  }

  function askedBy(actor: Actor, what: readonly string[]): Operation[] {
    return operations.filter(
      (o) => o.actor === actor && o.answer === undefined && !o.isDetached && what.includes(o.operation),
    );
  }

  function isAsking(actor: Actor, what: readonly string[], about = ''): boolean {
    return askedBy(actor, what).some(({ subject }) => subject.includes(about));
  }

  return {
    get now() {
      return now;
    },
    get step() {
      return step;
    },
    get current() {
      return current;
    },
    get actors() {
      return actors;
    },
    spawn(name, role, skewMs) {
      const actor: Actor = {
        name,
        role,
        skewMs,
        startedStep: step,
        startedAt: now,
        state: 'running',
        thawsAt: 0,
        hadFault: false,
        calls: new Map(),
      };
      actors.push(actor);
      return actor;
    },
    retire(actor) {
      actor.state = 'done';
      return dropOf(actor);
    },
    kill(actor) {
      actor.state = 'dead';
      actor.hadFault = true;
      trace(() => `${actor.name} is killed`);
      for (const operation of dropOf(actor)) {
        if (operation.answer === undefined && random.chance(0.7)) leave(operation, random.spread(100, 3_600_000));
      }
    },
    freeze(actor, ms) {
      actor.state = 'frozen';
      actor.hadFault = true;
      actor.thawsAt = now + ms;
      trace(() => `${actor.name} is frozen for ${Math.round(ms / 1000)} s`);
    },
    clockOf: (actor) => ({
      now: () => now + actor.skewMs,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason);
          const sleeper: Sleeper = { actor, at: now + Math.max(0, Math.ceil(ms)), wake: resolve };
          sleepers.push(sleeper);
          signal?.addEventListener('abort', () => {
            sleepers = sleepers.filter((other) => other !== sleeper);
            reject(signal.reason);
          });
        }),
    }),
    ask<T>(actor: Actor, call: Call<T>): Promise<T> {
      return new Promise<T>((resolve, reject) => {
        if (actor.state === 'dead') return;
        operations.push({
          ...call,
          actor,
          issuedStep: step,
          issuedAt: now,
          notBefore: now,
          isSlowed: false,
          isDetached: false,
          answer: undefined,
          resolve: resolve as (value: unknown) => void,
          reject,
        });
      });
    },
    isIdle: () => choices().length === 0,
    isCommitting: (actor) => isAsking(actor, ['transact']),
    isWriting: (actor) => isAsking(actor, ['transact', 'PUT begins', 'PUT']),
    isAboutToSend: (actor) => isAsking(actor, ['PUT begins']),
    isReadingFleet: (actor) => isAsking(actor, ['control']),
    isAsking: (actor, operation, about) => isAsking(actor, [operation], about),
    delay(actor, operation, ms) {
      for (const one of askedBy(actor, [operation])) {
        one.notBefore = now + ms;
        trace(() => `${describe(one)} — takes ${ms} ms longer`);
      }
    },
    lose(actor, operation, error) {
      for (const one of askedBy(actor, [operation])) tell(one, 'lost', error);
    },
    leaveBehind(actor, operation, ms) {
      for (const one of askedBy(actor, [operation])) {
        remove(one);
        leave(one, ms);
      }
    },
    pendingOf: (actor) => operations.filter((operation) => operation.actor === actor && !operation.isDetached).length,
    isAskedAbout: (port, subject) => operations.some((o) => o.port === port && o.subject === subject),
    advance,
    advanceAll,
    pass(ms) {
      const until = now + ms;
      const next = nextMoment();
      now = Math.max(now, Math.min(until, next));
      // To a process at work this is an operation that takes long: it may run out of time.
      for (const actor of actors) actor.hadFault = true;
      return now >= until;
    },
    jump() {
      const next = nextMoment();
      if (next === Number.POSITIVE_INFINITY) return false;
      now = Math.max(now, next);
      return true;
    },
    hasDetached: () => operations.some((operation) => operation.isDetached),
    settleDetached() {
      for (const operation of operations.filter((o) => o.isDetached)) {
        const end = random.below(3);
        if (end === 0) operation.notBefore = now;
        if (end === 1) remove(operation);
      }
    },
    thawAll() {
      for (const actor of actors) if (actor.state === 'frozen') actor.thawsAt = now;
      thawDue();
    },
    trace,
  };

  /** The first moment after now at which something becomes possible. */
  function nextMoment(): number {
    let next = Number.POSITIVE_INFINITY;
    const consider = (at: number) => {
      if (at > now && at < next) next = at;
    };
    for (const operation of operations) consider(operation.notBefore);
    for (const sleeper of sleepers) if (sleeper.actor.state === 'running') consider(sleeper.at);
    for (const actor of actors) if (actor.state === 'frozen') consider(actor.thawsAt);
    return next;
  }
}

/** `h:mm:ss.mmm` since the beginning. */
function clockText(ms: number): string {
  const two = (n: number) => String(Math.floor(n)).padStart(2, '0');
  return `${two(ms / 3_600_000)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}.${String(ms % 1000).padStart(3, '0')}`;
}
