/** A process that runs the code under test: an invocation of a worker, or a client process. */
export interface Actor {
  readonly name: string;
  /** What runs in it, e.g. `replicator` or `client`. */
  readonly role: string;
  /** Its clock minus true time, in milliseconds. */
  readonly skewMs: number;
  readonly startedStep: number;
  /** True time. */
  readonly startedAt: number;
  state: 'running' | 'frozen' | 'dead' | 'done';
  /** When a frozen actor goes on. */
  thawsAt: number;
  /** A fault was shown to it, or it was killed or frozen: what it leaves behind is explained. */
  hadFault: boolean;
  /** Calls by `read`, `write` or `<backend> <operation>`. */
  readonly calls: Map<string, number>;
}

/** What becomes of one call of a port, decided when the scheduler picks it. */
export type Fate =
  /** The effect happens and its answer comes back. */
  | { readonly kind: 'answered' }
  /** No effect, and an error. */
  | { readonly kind: 'refused'; readonly fault: string; readonly error: Error }
  /** The effect happens, but the caller is told an error. */
  | { readonly kind: 'answer-lost'; readonly fault: string; readonly error: Error }
  /** The caller is told an error; the effect happens later, or never. */
  | {
      readonly kind: 'delayed';
      readonly fault: string;
      readonly error: Error;
      readonly ms: number;
      readonly lands: boolean;
    }
  /** Nothing happens yet. */
  | { readonly kind: 'slow'; readonly fault: string; readonly ms: number };

export interface Call<T> {
  /** `store`, or a backend's name. */
  readonly port: string;
  readonly operation: string;
  /** The keys it is about, for the trace. */
  readonly subject: string;
  readonly effect: () => Promise<T>;
  readonly fate?: (() => Fate) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What the caller is told when its own signal cancels the call. */
  readonly cancelled?: (() => Error) | undefined;
}

/** A call that the scheduler holds. */
export interface Operation extends Call<unknown> {
  readonly actor: Actor;
  readonly issuedStep: number;
  readonly issuedAt: number;
  notBefore: number;
  isSlowed: boolean;
  /** Nobody waits for it any more. */
  isDetached: boolean;
  answer: Promise<unknown> | undefined;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

/** For the trace. */
export function describe({ actor, port, operation, subject }: Operation): string {
  return `${actor.name} ${port} ${operation} ${subject}`;
}

export function summary(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (value instanceof Map) return `${value.size} found`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  const text = JSON.stringify(value, (name, field) => (name === 'bytes' ? undefined : field)) ?? '';
  return text.length > 160 ? `${text.slice(0, 157)}…` : text;
}

export function errorText(error: unknown): string {
  const { name, kind, message } = error as { name?: string; kind?: string; message?: string };
  return `${name}${kind === undefined ? '' : ` ${kind}`}: ${String(message).slice(0, 100)}`;
}
