import { systemClock } from '../lib/base/clock.ts';
import { parseFleetText } from '../lib/config/parse-fleet-file.ts';
import { apply } from '../lib/operations/apply.ts';
import { createProcess } from '../lib/process/process.ts';
import type { LambdaContext } from './handler.ts';
import { lambdaLog } from './log.ts';

/** What CloudFormation sends to a custom resource. */
export interface CustomResourceEvent {
  readonly RequestType: 'Create' | 'Update' | 'Delete';
  /** Where the answer is put; presigned. */
  readonly ResponseURL: string;
  readonly StackId: string;
  readonly RequestId: string;
  readonly LogicalResourceId: string;
  /** `fleet` is the text of the fleet file. */
  readonly ResourceProperties: { readonly fleet: string };
}

interface Answer {
  readonly Status: 'SUCCESS' | 'FAILED';
  readonly Reason?: string;
  readonly Data?: Readonly<Record<string, string>>;
}

const log = lambdaLog();
const holdfastProcess = createProcess({ env: process.env, log });

/** A role's policy may take some seconds until it is in force everywhere. */
const attempts = 4;
const pauseMs = 10_000;
const reserveMs = 5_000;
/** CloudFormation takes answers of at most 4096 bytes. */
const reasonLength = 3_000;

/**
 * Puts the fleet file of a deployment in force: the custom resource's handler. CloudFormation always gets an answer, with
 * every problem in it. A rollback sends the older file, which becomes a new version. Deleting the stack changes nothing.
 */
export async function handler(event: CustomResourceEvent, context: LambdaContext): Promise<void> {
  const deadline = systemClock.now() + context.getRemainingTimeInMillis() - reserveMs;
  const answer = event.RequestType === 'Delete' ? done({}) : await within(deadline, applyFile(event, deadline));
  log[answer.Status === 'SUCCESS' ? 'info' : 'error']('Deployment answered', { ...answer });
  await respond(event, answer);
}

async function applyFile({ ResourceProperties }: CustomResourceEvent, deadline: number): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // A deployment that failed must be able to go back to the file before, whatever was put meanwhile.
      const options = { park: 'rollback' } as const;
      const { version, fleetId } = await apply(holdfastProcess, parseFleetText(ResourceProperties.fleet), options);
      return done({ version: String(version), fleetId });
    } catch (error) {
      if (attempt === attempts || systemClock.now() + pauseMs >= deadline) return failed((error as Error).message);
      log.warn('The fleet file was not applied; it is tried again', { attempt, message: (error as Error).message });
      await systemClock.sleep(pauseMs);
    }
  }
}

async function within(deadline: number, work: Promise<Answer>): Promise<Answer> {
  const over = new AbortController();
  const late = systemClock
    .sleep(Math.max(0, deadline - systemClock.now()), over.signal)
    .then(() => failed('The fleet file was not applied in time'));
  late.catch(() => {}); // ended by `over`
  const answer = await Promise.race([work, late]);
  over.abort();
  return answer;
}

function done(data: Readonly<Record<string, string>>): Answer {
  return { Status: 'SUCCESS', Data: data };
}

function failed(reason: string): Answer {
  return { Status: 'FAILED', Reason: reason.slice(0, reasonLength) };
}

async function respond({ ResponseURL, StackId, RequestId, LogicalResourceId }: CustomResourceEvent, answer: Answer) {
  const body = JSON.stringify({
    ...answer,
    StackId,
    RequestId,
    LogicalResourceId,
    PhysicalResourceId: 'holdfast-fleet',
  });
  // The URL is signed for an empty content type.
  const response = await fetch(ResponseURL, { method: 'PUT', body, headers: { 'content-type': '' } });
  if (!response.ok) throw new Error(`CloudFormation did not take the answer: HTTP ${response.status}`);
}
