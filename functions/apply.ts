import { systemClock } from '../lib/base/clock.ts';
import { printable } from '../lib/base/printable.ts';
import { type PackedFleet, unpackFleet } from '../lib/config/packed-fleet.ts';
import { parseFleetText } from '../lib/config/parse-fleet-file.ts';
import { type Applied, apply } from '../lib/operations/apply.ts';
import { createProcess, type HoldfastProcess } from '../lib/process/process.ts';
import { deploymentKey, rowKeys } from '../lib/store/row-keys.ts';
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
  /** The fleet file, and whether the deployment applies it; CloudFormation makes texts of flags. */
  readonly ResourceProperties: PackedFleet & { readonly applies: 'true' | 'false' };
}

/** Any other event asks to apply the file of the last deployment again. */
type ApplyEvent = CustomResourceEvent | { readonly RequestType?: undefined };

interface Answer {
  readonly Status: 'SUCCESS' | 'FAILED';
  readonly Reason?: string;
  readonly Data?: Readonly<Record<string, string>>;
}

const log = lambdaLog();

/** A role's policy may take some seconds until it is in force everywhere. */
const attempts = 4;
const pauseMs = 10_000;
/** Kept for the answer, which is tried again too. */
const reserveMs = 15_000;
const answerAttempts = 5;
/** CloudFormation takes answers of at most 4096 bytes: this much is left for the reason, as JSON. */
const reasonBytes = 3_000;

/**
 * Puts the fleet file of a deployment in force: the custom resource's handler. CloudFormation always gets an answer within its
 * time, with every problem in it. A rollback sends the older file, which becomes a new version. Deleting the stack changes
 * nothing. Invoked with `{}` it applies the file of the last deployment again, returns its version, and throws with every
 * problem where it is refused.
 */
export async function handler(event: ApplyEvent, context: LambdaContext): Promise<Applied | undefined> {
  const deadline = systemClock.now() + context.getRemainingTimeInMillis() - reserveMs;
  if (event.RequestType === undefined) return applyAgain();
  const answer = event.RequestType === 'Delete' ? done({}) : await within(deadline, applyDeployed(event, deadline));
  log[answer.Status === 'SUCCESS' ? 'info' : 'error']('Deployment answered', { ...answer });
  await respond(event, answer);
  return undefined;
}

async function applyDeployed({ ResourceProperties }: CustomResourceEvent, deadline: number): Promise<Answer> {
  const { applies, fleet, values = [] } = ResourceProperties;
  // A file with mistakes has them at every attempt.
  const mistakes = mistakesIn({ fleet, values });
  if (mistakes !== null) return failed(mistakes);
  for (let attempt = 1; ; attempt += 1) {
    try {
      const holdfastProcess = createProcess({ env: process.env, log });
      await keep(holdfastProcess, { fleet, values });
      if (applies === 'false') return done({ version: 'none: the fleet file is not applied yet' });
      const { version, fleetId } = await applyText(holdfastProcess, { fleet, values });
      return done({ version: String(version), fleetId });
    } catch (error) {
      if (attempt === attempts || systemClock.now() + pauseMs >= deadline) return failed((error as Error).message);
      log.warn('The fleet file was not applied; it is tried again', { attempt, message: (error as Error).message });
      await systemClock.sleep(pauseMs);
    }
  }
}

function mistakesIn(packed: PackedFleet): string | null {
  try {
    parseFleetText(unpackFleet(packed));
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

async function applyAgain(): Promise<Applied> {
  const holdfastProcess = createProcess({ env: process.env, log });
  const { rows } = await holdfastProcess.store.control(deploymentKey);
  const row = rows.find(({ sk }) => sk === rowKeys.deployedFleet);
  if (row === undefined) throw new Error('No deployment has brought a fleet file yet');
  return applyText(holdfastProcess, row.data as unknown as PackedFleet);
}

/** A deployment that failed must be able to go back to the file before, whatever was put meanwhile. */
function applyText(holdfastProcess: HoldfastProcess, packed: PackedFleet): Promise<Applied> {
  return apply(holdfastProcess, parseFleetText(unpackFleet(packed)), { park: 'rollback' });
}

/** Keeps the file, for whoever applies it later; the last deployment wins. */
async function keep({ store }: HoldfastProcess, packed: PackedFleet): Promise<void> {
  const { rows } = await store.control(deploymentKey);
  const before = rows.find(({ sk }) => sk === rowKeys.deployedFleet);
  const put = {
    pk: deploymentKey,
    sk: rowKeys.deployedFleet,
    version: (before?.version ?? 0) + 1,
    data: { ...packed },
  };
  const answer = await store.write({ kind: 'row', put, expect: before?.version ?? 'absent' });
  if (answer.outcome !== 'done') throw new Error('Another deployment of this fleet is under way');
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

/** What a backend answered may be in it. */
function failed(reason: string): Answer {
  return { Status: 'FAILED', Reason: shortened(printable(reason)) };
}

/** A quote or a line break takes two bytes of JSON. */
function shortened(text: string): string {
  const bytesOf = (part: string) => Buffer.byteLength(JSON.stringify(part));
  if (bytesOf(text) <= reasonBytes) return text;
  const characters = [...text].slice(0, reasonBytes);
  let bytes = bytesOf(' …');
  const kept = characters.findIndex((character) => {
    bytes += bytesOf(character) - 2;
    return bytes > reasonBytes;
  });
  return `${characters.slice(0, kept).join('')} …`;
}

async function respond({ ResponseURL, StackId, RequestId, LogicalResourceId }: CustomResourceEvent, answer: Answer) {
  const body = JSON.stringify({
    ...answer,
    StackId,
    RequestId,
    LogicalResourceId,
    PhysicalResourceId: 'holdfast-fleet',
  });
  for (let attempt = 1; ; attempt += 1) {
    try {
      // The URL is signed for an empty content type.
      const response = await fetch(ResponseURL, {
        method: 'PUT',
        body,
        headers: { 'content-type': '' },
        signal: AbortSignal.timeout(reserveMs / answerAttempts),
      });
      if (response.ok) return;
      throw new Error(`HTTP ${response.status}`);
    } catch (error) {
      if (attempt === answerAttempts)
        throw new Error(`CloudFormation did not take the answer: ${(error as Error).message}`, { cause: error });
      await systemClock.sleep(200 * attempt);
    }
  }
}
