import type { Entry } from '../../../lib/store/model.ts';
import type { Actor, Operation } from '../operation.ts';
import { type Content, type Description, isSameDescription } from './content.ts';
import { Violation } from './violation.ts';

/** A call of the library by a simulated application. */
export interface ClientCall {
  readonly id: number;
  readonly actor: Actor;
  readonly kind: 'put' | 'delete' | 'undelete' | 'get' | 'head' | 'list';
  readonly key: string;
  readonly sha256?: string;
  readonly sizeBytes?: number;
  /** Of a put. */
  readonly description?: Description;
  /** Of a put: how many backends were to hold it before it returns. */
  readonly copies?: number;
  readonly invokedStep: number;
  endedStep: number;
  /** `acked` it returned · `failed` it threw · `killed` its process died: what it wanted may have happened. */
  outcome: 'running' | 'acked' | 'failed' | 'killed';
}

/** A stretch of a key's history during which its record said one thing. */
interface Era {
  readonly generation: string | null;
  readonly isObject: boolean;
  readonly call: ClientCall | undefined;
  /** What the generation holds. */
  readonly content: Content | undefined;
  readonly fromStep: number;
  toStep: number;
}

/** What a reader was given: a generation, or null for nothing. */
export interface ReadResult {
  readonly generation: string;
  readonly sizeBytes: number;
  readonly sha256: string | undefined;
  /** Of a get. */
  readonly description?: Description;
}

/**
 * Invariant 5: what applications were told. Every change of a key's generation is one write that someone asked for, in an
 * order that no caller can tell from one at a time; nothing that ended before a newer write began comes back.
 */
export interface CallsCheck {
  begin(call: Pick<ClientCall, 'actor' | 'kind' | 'key'> & Partial<ClientCall>): ClientCall;
  /** A put was acknowledged with a generation. */
  putAcked(call: ClientCall, generation: string): void;
  deleteAcked(call: ClientCall): void;
  /** An undelete was acknowledged with the generation that it made. */
  undeleteAcked(call: ClientCall, generation: string): void;
  /** A process that brings a content back has named its copy: whoever records it does so in its name. */
  broughtBack(key: string, generation: string, operation: Operation | null): void;
  failed(call: ClientCall): void;
  processEnded(actor: Actor): void;
  readAcked(call: ClientCall, result: ReadResult | null): void;
  /** One summary of a listing: it stood at some moment since the listing began. */
  listed(call: ClientCall, key: string, result: ReadResult): void;
  listingEnded(call: ClientCall): void;
  /**
   * The generation of a key changed; `file` is what an external client keeps there, if that is what made it, and null where
   * the files that were all there was of an object are gone.
   */
  generationChanged(
    key: string,
    before: Entry | null,
    after: Entry | null,
    operation: Operation | null,
    file?: Content | null,
  ): void;
  /** The delete that an operation carries out for a key. */
  deleteBehind(key: string, operation: Operation): ClientCall | undefined;
  /** The undelete that made an entry, if one did. */
  undeleteOf(entry: Entry | null, operation: Operation | null): ClientCall | undefined;
  /** What travels with the content of an entry. */
  descriptionOf(entry: Entry): Description | undefined;
  /** The put that made the content an entry describes. */
  putOf(entry: Entry): ClientCall | undefined;
}

export function createCallsCheck(step: () => number, report: (violation: Violation) => void): CallsCheck {
  const puts = new Map<string, ClientCall>();
  const calls: ClientCall[] = [];
  const eras = new Map<string, Era[]>();
  let count = 0;

  const erasOf = (key: string): Era[] => {
    const known = eras.get(key);
    if (known !== undefined) return known;
    const first: Era[] = [
      {
        generation: null,
        isObject: false,
        call: undefined,
        content: undefined,
        fromStep: 0,
        toStep: Number.POSITIVE_INFINITY,
      },
    ];
    eras.set(key, first);
    return first;
  };
  const wrong = (key: string, message: string) => report(new Violation('5 what callers were told', message, key));

  function end(call: ClientCall, outcome: ClientCall['outcome']): void {
    call.outcome = outcome;
    call.endedStep = step();
    const at = calls.indexOf(call);
    if (at >= 0) calls.splice(at, 1);
  }

  /** What a process was doing to a key when it sent an operation. */
  const changes: ClientCall[] = [];
  const changeBehind = (kind: ClientCall['kind'], key: string, { actor, issuedStep }: Operation) =>
    changes.findLast(
      (call) =>
        call.kind === kind &&
        call.key === key &&
        call.actor === actor &&
        call.invokedStep <= issuedStep &&
        issuedStep <= call.endedStep,
    );
  const deleteBehind = (key: string, operation: Operation) => changeBehind('delete', key, operation);
  /** By the generation that they make. */
  const undeletes = new Map<string, ClientCall>();
  const undeleteOf = (entry: Entry | null, operation: Operation | null) => {
    if (entry?.kind !== 'object' || entry.writtenAs === undefined) return undefined;
    const known = undeletes.get(entry.generation);
    return known ?? (operation === null ? undefined : changeBehind('undelete', entry.key, operation));
  };

  function generationChanged(
    key: string,
    before: Entry | null,
    after: Entry | null,
    operation: Operation | null,
    file?: Content | null,
  ): void {
    const all = erasOf(key);
    const now = step();
    const last = all.at(-1)!;
    last.toStep = now;
    const generation = after?.generation ?? null;
    if (generation !== null && all.some((era) => era.generation === generation))
      wrong(key, `Generation ${generation} of "${key}" came back after it was replaced`);
    if (after === null && before?.kind !== 'tombstone') wrong(key, `The record of "${key}" vanished`);
    const undelete = undeleteOf(after, operation);
    const call =
      after === null || file !== undefined
        ? undefined
        : after.kind === 'object'
          ? after.writtenAs === undefined
            ? putOf(after)
            : undelete
          : operation
            ? deleteBehind(key, operation)
            : undefined;
    const former = after?.kind === 'object' ? all.findLast((era) => era.generation === after.writtenAs) : undefined;
    const back = undelete === undefined ? undefined : former?.content;
    all.push({
      generation,
      isObject: after?.kind === 'object',
      call,
      content:
        call?.kind === 'put'
          ? { sizeBytes: call.sizeBytes!, sha256: call.sha256!, description: call.description! }
          : (back ?? file ?? undefined),
      fromStep: now,
      toStep: Number.POSITIVE_INFINITY,
    });
    if (after === null || file !== undefined) return;
    const what = after.kind === 'tombstone' ? 'delete' : after.writtenAs === undefined ? 'put' : 'undelete';
    if (call === undefined) {
      wrong(key, `Nobody asked for the ${what} that made generation ${generation} of "${key}"`);
      return;
    }
    if (call.key !== key) wrong(key, `"${key}" has the content that was put under "${call.key}"`);
    const sizeBytes = after.kind === 'object' ? (after.encryption?.plaintextBytes ?? after.sizeBytes) : undefined;
    const given = undelete === undefined ? call.sizeBytes : back?.sizeBytes;
    if (sizeBytes !== given) wrong(key, `"${key}" is recorded with ${sizeBytes} bytes; ${given} were put`);
    if (call.outcome === 'acked') wrong(key, `The ${what} ${call.id} of "${key}" took effect after it had returned`);
    if (last.call !== undefined && last.call.invokedStep > call.endedStep)
      wrong(
        key,
        `The ${what} ${call.id} of "${key}", ended at step ${call.endedStep}, replaced ${last.call.kind} ${last.call.id}, begun later`,
      );
  }

  function putOf(entry: Entry): ClientCall | undefined {
    if (entry.kind !== 'object') return undefined;
    const sha256 = entry.encryption === undefined ? entry.sha256 : entry.encryption.plaintextSha256;
    return sha256 === undefined ? undefined : puts.get(sha256);
  }

  function check(call: ClientCall, key: string, result: ReadResult | null, untilStep: number): void {
    const during = erasOf(key).filter((era) => era.fromStep <= untilStep && era.toStep >= call.invokedStep);
    if (result === null) {
      if (!during.some((era) => !era.isObject))
        wrong(key, `A ${call.kind} of "${key}" found nothing although it was there throughout`);
      return;
    }
    const era = during.find(({ generation }) => generation === result.generation);
    if (era === undefined) {
      wrong(key, `A ${call.kind} of "${key}" gave generation ${result.generation}, not current during the call`);
      return;
    }
    const { sha256, sizeBytes } = era.content ?? {};
    if (sizeBytes !== result.sizeBytes || (result.sha256 !== undefined && sha256 !== result.sha256))
      wrong(key, `A ${call.kind} of "${key}" gave other content than generation ${result.generation} has`);
    if (result.description !== undefined && !isSameDescription(result.description, era.content?.description))
      wrong(key, `A ${call.kind} of "${key}" gave other headers than generation ${result.generation} has`);
  }

  return {
    begin(given) {
      count += 1;
      const call: ClientCall = {
        ...given,
        id: count,
        invokedStep: step(),
        endedStep: Number.POSITIVE_INFINITY,
        outcome: 'running',
      };
      calls.push(call);
      if (call.kind === 'put') puts.set(call.sha256!, call);
      if (call.kind === 'delete' || call.kind === 'undelete') changes.push(call);
      return call;
    },
    putAcked(call, generation) {
      end(call, 'acked');
      const all = erasOf(call.key).filter(({ toStep }) => toStep >= call.invokedStep);
      const isThere = all.some((era) => era.generation === generation && era.call === call);
      // A put whose intent was taken from it while another write came may count as overwritten before anyone saw it.
      const isOverwritten = all.some(({ fromStep }) => fromStep > call.invokedStep);
      if (!isThere && !isOverwritten)
        wrong(call.key, `The put ${call.id} of "${call.key}" was acknowledged but never took effect`);
    },
    deleteAcked(call) {
      end(call, 'acked');
      if (!erasOf(call.key).some((era) => era.call === call))
        wrong(call.key, `The delete ${call.id} of "${call.key}" was acknowledged but never took effect`);
    },
    undeleteAcked(call, generation) {
      end(call, 'acked');
      if (!erasOf(call.key).some((era) => era.call === call && era.generation === generation))
        wrong(call.key, `The undelete ${call.id} of "${call.key}" was acknowledged but never took effect`);
    },
    broughtBack(key, generation, operation) {
      const call = operation === null ? undefined : changeBehind('undelete', key, operation);
      if (call !== undefined) undeletes.set(generation, call);
    },
    failed: (call) => end(call, 'failed'),
    processEnded(actor) {
      for (const call of calls.filter((c) => c.actor === actor)) end(call, 'killed');
    },
    readAcked(call, result) {
      end(call, 'acked');
      check(call, call.key, result, call.endedStep);
    },
    listed: (call, key, result) => check(call, key, result, step()),
    listingEnded: (call) => end(call, 'acked'),
    generationChanged,
    deleteBehind,
    undeleteOf,
    descriptionOf: ({ key, generation }) =>
      erasOf(key).findLast((era) => era.generation === generation)?.content?.description,
    putOf,
  };
}
