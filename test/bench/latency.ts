import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

/** What a request takes longer than on one machine, while it is switched on. */
export interface Latency {
  readonly front: ChildProcess;
  /** Where DynamoDB answers later, always. */
  readonly dynamodb: string;
  /** Whether the S3 servers answer later. */
  set(isOn: boolean): Promise<void>;
}

/** `controls`: of the S3 servers, which wait in their own processes; DynamoDB is behind a process that does. */
export async function startLatency(
  { s3Ms, dynamodbMs }: { readonly s3Ms: number; readonly dynamodbMs: number },
  controls: readonly string[],
  dynamodb: string,
): Promise<Latency> {
  const front = fork(resolve(import.meta.dirname, 'delay-front.ts'), [String(dynamodbMs), dynamodb]);
  const [endpoint] = (await once(front, 'message')) as [string];
  const fault = JSON.stringify({ kind: 'delay', ms: s3Ms });
  return {
    front,
    dynamodb: endpoint,
    async set(isOn) {
      for (const control of controls) {
        // A kept socket may be closed by the time it is used again.
        const headers = { connection: 'close' };
        const how = isOn ? { method: 'POST', headers, body: fault } : { method: 'DELETE', headers };
        const answer = await fetch(`${control}/faults`, how);
        if (!answer.ok)
          throw new Error(`The server at ${control} would not ${isOn ? 'wait' : 'go on'}: ${await answer.text()}`);
      }
    },
  };
}

/** `30,5`: milliseconds of an S3 request and of one of DynamoDB. */
export function parseLatency(text: string | undefined): { readonly s3Ms: number; readonly dynamodbMs: number } | null {
  if (text === undefined) return null;
  const [, s3, dynamodb] = /^(\d+),(\d+)$/.exec(text) ?? [];
  if (dynamodb === undefined)
    throw new Error(`"${text}" is no latency: milliseconds of S3 and of DynamoDB, such as 30,5`);
  return { s3Ms: Number(s3), dynamodbMs: Number(dynamodb) };
}
