import type { Body } from '../../base/bytes.ts';
import { systemClock } from '../../base/clock.ts';
import { defined } from '../../base/defined.ts';
import { type Address, pathOfKey } from './address.ts';
import { createClockOffset } from './clock-offset.ts';
import { wireText } from './header-text.ts';
import type { S3Keys } from './options.ts';
import { AnsweredError } from './refused.ts';
import { createRetries } from './retries.ts';
import { createSigner, emptySha256 } from './sign.ts';
import type { Wire, WireAnswer } from './wire.ts';

/** A request for one object. */
export interface Asked {
  readonly operation: 'GetObject' | 'HeadObject' | 'PutObject' | 'UploadPart';
  readonly method: 'GET' | 'HEAD' | 'PUT';
  /** In the bucket. */
  readonly key: string;
  /** Encoded, its names in byte order. */
  readonly query?: string;
  /** Names in lower case; those without a value are not sent. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body?: Uint8Array | Body;
  /** Of the body [0]. */
  readonly sentBytes?: number;
  /** Hex, or what stands for a body that is not signed; of no body, where absent. */
  readonly bodySha256?: string;
  /** Not to be sent again: its body is gone, or its second sending could be answered otherwise because of the first. */
  readonly isSentOnce?: boolean;
}

/** A good answer. The body of an object is streamed, any other is in memory. */
export type Answer = WireAnswer;

/** Sends requests that this project builds and signs itself. */
export type Ask = (asked: Asked, signal: AbortSignal | undefined) => Promise<Answer>;

export interface AskDeps {
  readonly wire: Wire;
  readonly address: Address;
  readonly keys: () => Promise<S3Keys>;
  /** At a request that may be sent again. */
  readonly attempts: number;
}

/** What signatures leave out: SDKs do, since proxies may change it. */
const unsigned: ReadonlySet<string> = new Set(['cache-control']);

/**
 * Requests for single objects, without the SDK's pipeline, which costs several times what the request itself does. They are
 * sent again for the reasons for which the SDK does so, and what is thrown has the shape of its errors.
 */
export function createAsk({ wire, address, keys, attempts }: AskDeps): Ask {
  const signer = createSigner(address);
  const offset = createClockOffset();
  const retries = createRetries(attempts);

  const sendOnce = async (asked: Asked, signal: AbortSignal | undefined): Promise<Answer> => {
    const { operation, method, body, query = '', sentBytes = 0, bodySha256 = emptySha256 } = asked;
    const path = `${address.path}/${pathOfKey(asked.key)}`;
    const sent: [string, string][] = [];
    for (const [name, value] of Object.entries(asked.headers)) if (value !== undefined) sent.push([name, value]);
    sent.push(['host', address.host]);
    const credentials = await keys();
    const sentAt = systemClock.now();
    const signed = signer.sign(
      { method, path, query, headers: sent.filter(([name]) => !unsigned.has(name)), bodySha256 },
      credentials,
      sentAt + offset.ms(),
    );
    const reads = method !== 'PUT';
    // As it is stored: GCS unpacks what has `Content-Encoding: gzip` for those who do not say that they take it.
    if (reads) signed.push(['accept-encoding', 'gzip']);
    const headers: string[] = [];
    for (const all of [sent, signed]) for (const [name, value] of all) headers.push(name, wireText(value));
    const answer = await wire.send(
      {
        ...{ operation, method, headers, sentBytes, isSecure: address.isSecure, hostname: address.hostname },
        ...defined({ body, port: address.port }),
        path: query === '' ? path : `${path}?${query}`,
        readsObject: operation === 'GetObject',
      },
      { signal },
    );
    const isCorrected = offset.learn(answer.headers, sentAt);
    if (answer.status < 300) return answer;
    throw new AnsweredError(answer as RefusingAnswer, { isWorthRetry: isCorrected });
  };

  return async (asked, signal) => {
    const attempt = retries.begin();
    for (;;) {
      try {
        const answer = await sendOnce(asked, signal);
        attempt.succeeded();
        return answer;
      } catch (error) {
        if (asked.isSentOnce === true || signal?.aborted) throw error;
        await attempt.failed(error, signal);
      }
    }
  };
}

type RefusingAnswer = WireAnswer & { readonly body: Uint8Array };
