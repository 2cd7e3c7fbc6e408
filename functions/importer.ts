import { systemClock } from '../lib/base/clock.ts';
import { type EventMessage, type PutEvent, readEventMessages } from '../lib/fleet/s3/event-documents.ts';
import { createProcess } from '../lib/process/process.ts';
import { runTick } from '../lib/tick/run-tick.ts';
import { type ArrivalEnd, createArrivals } from '../lib/workers/reconciler/arrivals.ts';
import { type LambdaContext, TickFailed } from './handler.ts';
import { lambdaLog } from './log.ts';

/** What SQS is told: these messages are delivered again. */
export interface BatchAnswer {
  readonly batchItemFailures: readonly { readonly itemIdentifier: string }[];
}

/** What a webhook is told: 200, or 503 for "send it again". */
export interface HttpAnswer {
  readonly statusCode: number;
}

const holdfastProcess = createProcess({ env: process.env, log: lambdaLog() });

/**
 * Takes the documents that S3 sends of new files: in messages of SQS, straight from EventBridge or SNS, or as a webhook's body.
 * Each key that they name is asked for now, and imported. What could not be settled is said to whoever delivers, so that it
 * comes again: by message to SQS, by 503 to a webhook, by a failed invocation to everyone else. A document that says nothing
 * is done with.
 */
export async function handler(event: unknown, context: LambdaContext): Promise<BatchAnswer | HttpAnswer | undefined> {
  const messages = readEventMessages(event);
  const open = await importAll(messages, systemClock.now() + context.getRemainingTimeInMillis());
  const failures = messages.filter(({ puts }) => puts.some((put) => open.has(put)));
  if (messages.some(({ id }) => id !== undefined))
    return { batchItemFailures: failures.flatMap(({ id }) => (id === undefined ? [] : [{ itemIdentifier: id }])) };
  if (isHttp(event)) return { statusCode: failures.length === 0 ? 200 : 503 };
  if (failures.length > 0)
    throw new TickFailed(`New files were not imported: ${[...new Set(open.values())].join('; ')}`);
  return undefined;
}

/** The puts that are to be delivered again, and why: what the tick did not come to is among them. */
async function importAll(messages: readonly EventMessage[], deadline: number): Promise<Map<PutEvent, string>> {
  const puts = messages.flatMap((message) => message.puts);
  const open = new Map(puts.map((put) => [put, 'the tick ended before']));
  if (puts.length === 0) return open;
  const ended = (put: PutEvent, end: ArrivalEnd) => {
    if (end.outcome === 'settled') open.delete(put);
    else open.set(put, end.reason);
  };
  const report = await runTick(holdfastProcess, createArrivals(puts, ended), { deadline });
  if (report.message !== undefined) for (const put of open.keys()) open.set(put, report.message);
  return open;
}

function isHttp(event: unknown): boolean {
  return typeof event === 'object' && event !== null && 'requestContext' in event;
}
