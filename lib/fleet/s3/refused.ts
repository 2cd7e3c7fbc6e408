import type { IncomingHttpHeaders } from 'node:http';

interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
}

/** An answer that is none of 2xx, in the shape of the SDK's errors: `name` is the code. */
export class AnsweredError extends Error {
  override readonly name: string;
  readonly $metadata: { readonly httpStatusCode: number; attempts?: number; readonly clockSkewCorrected: boolean };
  readonly $response: {
    readonly statusCode: number;
    readonly reason: string;
    readonly headers: Record<string, string>;
  };
  /** The key with which the request was signed, where the answer names it. */
  readonly AWSAccessKeyId: string | undefined;
  /** What a person would read, where it is not in the form of S3. */
  readonly body: string | undefined;
  constructor({ status, reason, headers, body }: Refusal, { isWorthRetry }: { readonly isWorthRetry: boolean }) {
    const text = Buffer.from(body.subarray(0, readBytes)).toString();
    super(textOf('Message', text) ?? '');
    const code = textOf('Code', text);
    this.AWSAccessKeyId = textOf('AWSAccessKeyId', text);
    this.body = code === undefined ? text : undefined;
    this.name = code ?? (status === 404 ? 'NotFound' : 'UnknownError');
    this.$metadata = { httpStatusCode: status, clockSkewCorrected: isWorthRetry };
    this.$response = { statusCode: status, reason, headers: headers as Record<string, string> };
  }
}

/** More than any error of S3 says. */
const readBytes = 64 * 1024;

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

/** What an element holds, which is text alone. */
function textOf(element: string, xml: string): string | undefined {
  const [, text] = new RegExp(`<${element}>([^<]*)</${element}>`).exec(xml) ?? [];
  return text?.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => entities[name]!);
}
