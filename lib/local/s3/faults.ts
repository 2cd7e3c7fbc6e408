import type { S3Request } from './s3-request.ts';

/** What a fault does. Sizes are in bytes of the body. */
export type FaultEffect =
  /** Cuts the connection before anything is done; without `match` even before a request is sent. */
  | { kind: 'refuse' }
  | { kind: 'delay'; ms: number }
  /** 503 SlowDown; with `perSecond`, only to what exceeds that many requests within a second of the clock. */
  | { kind: 'throttle'; perSecond?: number }
  /** Any status, also 200: S3 answers so when a copy or a completion fails late. */
  | { kind: 'error'; status: number; code: string; message?: string }
  /** Announces the full length, sends this much, cuts the connection. */
  | { kind: 'truncate'; afterBytes: number }
  /** Inverts bytes of an object's body as it is sent; the file stays as it is. */
  | { kind: 'corrupt'; atByte?: number; bytes?: number }
  /** Answers only once the rule is cleared; with `afterBytes`, does what was asked and stops there in its answer. */
  | { kind: 'hang'; afterBytes?: number }
  /** Never answers `100 Continue`: waits for the body. */
  | { kind: 'ignore-expect' }
  /** NotImplemented; or goes on as if the request had not asked for it. */
  | { kind: 'reject-feature'; feature: Feature; answer?: 'not-implemented' | 'silently-ignore' }
  /** Does what was asked, then cuts the connection instead of answering. */
  | { kind: 'lose-answer' }
  /** Stores objects without their user metadata. */
  | { kind: 'drop-metadata' }
  /** Takes aws-chunked framing for part of the object, as some servers do. */
  | { kind: 'store-chunk-framing' }
  /** EntityTooLarge for objects past this size. */
  | { kind: 'max-object-bytes'; bytes: number }
  /** Encodes the keys of a listing without saying so. */
  | { kind: 'hide-encoding' }
  /** Follows no token: every page of a listing is its first one. */
  | { kind: 'loop-tokens' }
  /** Takes no key that matches this regular expression; a DeleteObjects that names one is refused as a whole. */
  | { kind: 'refuse-keys'; pattern: string }
  /** Takes no key that is a folder of another, nor one below a key: as a file system. */
  | { kind: 'refuse-nested' }
  /** Takes keys for paths: what `a/../b` names is stored under `b`. */
  | { kind: 'resolve-paths' }
  /** Names a version of what it stores, and keeps none. */
  | { kind: 'name-versions' }
  /** Has forgotten the user metadata of what it stores, as after a start of its own. */
  | { kind: 'forget-metadata' }
  /** Writes Content-Type in a form of its own. */
  | { kind: 'fold-headers' }
  /** Stores what had come of an object when the client breaks off. */
  | { kind: 'keep-truncated' };

export type Feature =
  | 'conditional-put'
  | 'conditional-completion'
  | 'conditional-copy'
  | 'conditional-delete'
  | 'checksum'
  | 'DeleteObjects'
  | 'CopyObject'
  | 'part-copy'
  | 'multipart'
  | 'versioning'
  | 'tagging'
  | 'start-after'
  | 'copy-condition';

export type FaultKind = FaultEffect['kind'];

export interface FaultMatch {
  operation?: string | string[];
  bucket?: string;
  key?: string;
  keyPrefix?: string;
}

export type FaultRule = FaultEffect & {
  /** Made up when absent. A rule replaces the one with its id. */
  id?: string;
  match?: FaultMatch;
  /** How often it strikes; unlimited when absent. */
  times?: number;
};

export interface Faults {
  /** The rule's id. */
  add(rule: FaultRule): string;
  /** Removes one rule, or all; requests that it holds up go on. */
  clear(id?: string): void;
  list(): FaultRule[];
}

export type FaultOf<K extends FaultKind> = Extract<FaultEffect, { kind: K }>;

export interface Strike<K extends FaultKind> {
  effect: FaultOf<K>;
  /** Resolves when the rule is cleared. */
  cleared: Promise<void>;
}

/** The faults as one request meets them. */
export interface RequestFaults {
  /** The first live rule of that kind that matches, and uses it once. */
  take<K extends FaultKind>(kind: K, applies?: (effect: FaultOf<K>) => boolean): Strike<K> | undefined;
}

export interface FaultEngine extends Faults {
  forRequest(request: Pick<S3Request, 'operation' | 'bucket' | 'key'>): RequestFaults;
  /** Whether a connection is to be cut at once. */
  refusesConnection(): boolean;
}

interface LiveRule {
  id: string;
  rule: FaultRule;
  left: number;
  cleared: PromiseWithResolvers<void>;
}

export function createFaults(): FaultEngine {
  const rules = new Map<string, LiveRule>();
  let count = 0;

  const clear = (id: string) => {
    rules.get(id)?.cleared.resolve();
    rules.delete(id);
  };
  const takeWhere = (applies: (rule: FaultRule) => boolean): LiveRule | undefined => {
    for (const live of rules.values()) {
      if (live.left <= 0 || !applies(live.rule)) continue;
      live.left--;
      return live;
    }
    return undefined;
  };

  return {
    add(rule) {
      count++;
      const id = rule.id ?? `fault-${count}`;
      clear(id);
      rules.set(id, {
        id,
        rule: { ...rule, id },
        left: rule.times ?? Number.POSITIVE_INFINITY,
        cleared: Promise.withResolvers(),
      });
      return id;
    },
    clear(id) {
      for (const one of id === undefined ? [...rules.keys()] : [id]) clear(one);
    },
    list: () => [...rules.values()].map(({ rule }) => rule),
    refusesConnection: () => takeWhere((rule) => rule.kind === 'refuse' && !rule.match) !== undefined,
    forRequest: (request) => ({
      take<K extends FaultKind>(kind: K, applies: (effect: FaultOf<K>) => boolean = () => true) {
        const live = takeWhere(
          (rule) => rule.kind === kind && matches(rule.match, request) && applies(rule as FaultOf<K>),
        );
        return live && { effect: live.rule as FaultOf<K>, cleared: live.cleared.promise };
      },
    }),
  };
}

function matches(match: FaultMatch | undefined, request: Pick<S3Request, 'operation' | 'bucket' | 'key'>): boolean {
  if (!match) return true;
  if (match.operation !== undefined && ![match.operation].flat().includes(request.operation)) return false;
  if (match.bucket !== undefined && match.bucket !== request.bucket) return false;
  if (match.key !== undefined && match.key !== request.key) return false;
  return match.keyPrefix === undefined || request.key.startsWith(match.keyPrefix);
}
