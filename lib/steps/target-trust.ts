/** What came of the object for which a place at a target was taken. */
export type PlaceEnd = 'stored' | 'refused' | 'nothing';

/** Leave to send one object to a target. */
export interface Place {
  /** Says what came of it, whatever happens; only the first word counts. */
  end(result: PlaceEnd): void;
}

/**
 * What the refusals of a target in this tick speak of: `objects` it takes others · `target` it takes nothing, not even a few
 * bytes of ours · `unknown` nobody can tell now.
 */
export type TrustVerdict = 'objects' | 'target' | 'unknown';

/** What a write of ours of a few bytes showed. `unknown`: it was not answered, or the target is full or asks to be asked less. */
export type WriteCheck = 'accepted' | 'refused' | 'unknown';

/** How much is sent to targets of which this tick has seen no success yet. */
export interface TargetTrust {
  /** A place at a target; null where it has none now. */
  enter(target: string): Place | null;
  /** Whether a target without a place is worth waiting for: it has refused nothing since it last took something. */
  isWorthWaiting(target: string): boolean;
  /** Whether it takes nothing more in this tick. */
  isOff(target: string): boolean;
  /** Resolves once one of these targets may have a place again, or is off. */
  changed(targets: readonly string[]): Promise<void>;
  /** Settles what a target's refusals speak of. */
  verdict(target: string): Promise<TrustVerdict>;
  /** Resolves once no write of ours is on its way: one may have been begun for an object that another target took. */
  idle(): Promise<void>;
}

export interface TrustRules {
  /** Objects that a target may have unanswered and refused before it has taken one. */
  readonly limit: number;
  /** Writes a few bytes of ours to a fixed key. */
  checkWrites(target: string): Promise<WriteCheck>;
  /** Whether it took nothing when it was tried last: it is asked for a few bytes before it is sent an object. */
  isDoubted(target: string): boolean;
}

interface Trust {
  unanswered: number;
  /** In a row. */
  refused: number;
  hasTaken: boolean;
  state: 'open' | Exclude<TrustVerdict, 'objects'>;
  check: Promise<void> | undefined;
  readonly waiting: Set<() => void>;
}

/**
 * A target is trusted slowly: until it has taken something in this tick, what is unanswered and what it refused are
 * `limit` objects at most. At so many refusals in a row, or when a verdict is asked for, a write of a few bytes of our own
 * decides: if it is accepted, the refusals speak of the objects, and as many more may be tried; if it is refused, they
 * speak of the target, which is off for this tick.
 */
export function createTargetTrust(rules: TrustRules): TargetTrust {
  const all = new Map<string, Trust>();
  const of = (target: string): Trust => {
    const known = all.get(target);
    if (known !== undefined) return known;
    const refused = rules.isDoubted(target) ? rules.limit : 0;
    const fresh: Trust = {
      unanswered: 0,
      refused,
      hasTaken: false,
      state: 'open',
      check: undefined,
      waiting: new Set(),
    };
    all.set(target, fresh);
    return fresh;
  };
  const wake = ({ waiting }: Trust) => {
    for (const go of waiting) go();
    waiting.clear();
  };
  const settle = (trust: Trust, answer: WriteCheck) => {
    if (trust.refused >= rules.limit) trust.hasTaken = false;
    trust.refused = 0;
    if (answer !== 'accepted') trust.state = answer === 'refused' ? 'target' : 'unknown';
  };
  const check = (target: string, trust: Trust): Promise<void> => {
    trust.check ??= rules
      .checkWrites(target)
      .then(
        (answer) => settle(trust, answer),
        (error: unknown) => {
          settle(trust, 'unknown');
          throw error;
        },
      )
      .finally(() => {
        trust.check = undefined;
        wake(trust);
      });
    return trust.check;
  };
  const hasPlace = ({ hasTaken, unanswered, refused }: Trust) =>
    hasTaken ? refused < rules.limit : unanswered + refused < rules.limit;
  const takePlace = (trust: Trust): Place => {
    trust.unanswered += 1;
    let isEnded = false;
    return {
      end(result) {
        if (isEnded) return;
        isEnded = true;
        trust.unanswered -= 1;
        if (result === 'stored') Object.assign(trust, { refused: 0, hasTaken: true });
        if (result === 'refused') trust.refused += 1;
        wake(trust);
      },
    };
  };
  return {
    enter(target) {
      const trust = of(target);
      if (trust.state !== 'open' || trust.check !== undefined) return null;
      if (hasPlace(trust)) return takePlace(trust);
      if (trust.unanswered === 0) check(target, trust).catch(() => {});
      return null;
    },
    isWorthWaiting: (target) => of(target).state === 'open' && of(target).refused === 0,
    isOff: (target) => of(target).state !== 'open',
    async changed(targets) {
      const trusts = targets.map(of);
      if (trusts.some(({ state }) => state !== 'open')) return;
      await new Promise<void>((go) => {
        for (const { waiting } of trusts) waiting.add(go);
      });
    },
    async verdict(target) {
      const trust = of(target);
      if (trust.state === 'open' && (trust.check !== undefined || trust.refused > 0)) await check(target, trust);
      return trust.state === 'open' ? 'objects' : trust.state;
    },
    async idle() {
      // Who asked for a check has been told of its failure.
      await Promise.allSettled([...all.values()].map((trust) => trust.check));
    },
  };
}
