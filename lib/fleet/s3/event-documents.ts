/** A key of a bucket of which an event says that something was put there. Nothing else that an event says is believed. */
export interface PutEvent {
  readonly bucket: string;
  readonly key: string;
}

/** What events say, by the message that brought them. */
export interface EventMessage {
  /** Of a queue's message: what is to be delivered again is named by it. */
  readonly id?: string;
  readonly puts: readonly PutEvent[];
}

/**
 * Reads what S3 sends of its buckets' events, however it comes: through EventBridge, as a notification (whose keys are encoded
 * as in a form), either of them in messages of SQS or SNS, or as the body of an HTTP request. Anything else, whatever its
 * shape, says nothing.
 */
export function readEventMessages(event: unknown): EventMessage[] {
  const records = fieldOf(event, 'Records');
  if (!Array.isArray(records) || !records.some((record) => fieldOf(record, 'eventSource') === 'aws:sqs'))
    return [{ puts: putsIn(event, 0) }];
  return records.map((record) => {
    const id = fieldOf(record, 'messageId');
    return { ...(typeof id === 'string' && { id }), puts: putsIn(fieldOf(record, 'body'), 0) };
  });
}

/** One in another: SNS in SQS, for example. */
const mostWrappings = 4;

function putsIn(value: unknown, depth: number): PutEvent[] {
  if (depth > mostWrappings) return [];
  if (typeof value === 'string') return putsIn(parsed(value), depth + 1);
  const records = fieldOf(value, 'Records');
  if (Array.isArray(records)) return records.flatMap((record) => putOfRecord(record) ?? wrappedIn(record, depth));
  return putOfEventBridge(value) ?? wrappedIn(value, depth);
}

/** The body of an HTTP request, or the message of SNS. */
function wrappedIn(value: unknown, depth: number): PutEvent[] {
  const body = fieldOf(value, 'body');
  if (typeof body === 'string') {
    const text = fieldOf(value, 'isBase64Encoded') === true ? Buffer.from(body, 'base64').toString('utf8') : body;
    return putsIn(text, depth + 1);
  }
  const message = fieldOf(value, 'Message') ?? fieldOf(fieldOf(value, 'Sns'), 'Message');
  return typeof message === 'string' ? putsIn(message, depth + 1) : [];
}

function putOfEventBridge(value: unknown): PutEvent[] | undefined {
  const type = fieldOf(value, 'detail-type');
  if (typeof type !== 'string') return undefined;
  const detail = fieldOf(value, 'detail');
  return type === 'Object Created' ? putOf(detail, fieldOf(fieldOf(detail, 'object'), 'key')) : [];
}

function putOfRecord(record: unknown): PutEvent[] | undefined {
  const s3 = fieldOf(record, 's3');
  const name = fieldOf(record, 'eventName');
  if (s3 === undefined || typeof name !== 'string') return undefined;
  if (!/^(s3:)?ObjectCreated:/.test(name)) return [];
  const key = fieldOf(fieldOf(s3, 'object'), 'key');
  return putOf(s3, typeof key === 'string' ? decodedKey(key) : undefined);
}

function putOf(place: unknown, key: unknown): PutEvent[] {
  const bucket = fieldOf(fieldOf(place, 'bucket'), 'name');
  return typeof bucket === 'string' && typeof key === 'string' && key !== '' ? [{ bucket, key }] : [];
}

function decodedKey(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
