/** One request as it came over the wire, whatever became of it. */
export interface RequestRecord {
  operation: string;
  bucket: string;
  key: string;
  /** 0 when no answer was sent. */
  status: number;
  /** Bytes of body on the wire, without HTTP's own framing. */
  bytesIn: number;
  bytesOut: number;
}

export type RequestFilter = Partial<Pick<RequestRecord, 'operation' | 'bucket' | 'key' | 'status'>> & {
  keyPrefix?: string;
};

export interface RequestLog {
  /** The latest requests, oldest first; past 100,000 the older half is forgotten, but stays in `byOperation`. */
  all(): readonly RequestRecord[];
  matching(filter: RequestFilter): RequestRecord[];
  count(filter?: RequestFilter): number;
  byOperation(): Record<string, number>;
  /** Until one more has come. */
  next(): Promise<void>;
  clear(): void;
}

const MAX_RECORDS = 100_000;

export function createRequestLog(): RequestLog & { add(record: RequestRecord): void } {
  let records: RequestRecord[] = [];
  let totals = new Map<string, number>();
  const waiting: (() => void)[] = [];
  const matching = (filter: RequestFilter) => records.filter((record) => matches(record, filter));
  return {
    add(record) {
      if (records.length >= MAX_RECORDS) records = records.slice(MAX_RECORDS / 2);
      records.push(record);
      totals.set(record.operation, (totals.get(record.operation) ?? 0) + 1);
      for (const goOn of waiting.splice(0)) goOn();
    },
    all: () => records,
    matching,
    count: (filter = {}) => matching(filter).length,
    byOperation: () => Object.fromEntries(totals),
    next: () => new Promise((resolve) => void waiting.push(resolve)),
    clear() {
      records = [];
      totals = new Map();
    },
  };
}

function matches(record: RequestRecord, filter: RequestFilter): boolean {
  return (
    (filter.operation === undefined || filter.operation === record.operation) &&
    (filter.bucket === undefined || filter.bucket === record.bucket) &&
    (filter.key === undefined || filter.key === record.key) &&
    (filter.status === undefined || filter.status === record.status) &&
    (filter.keyPrefix === undefined || record.key.startsWith(filter.keyPrefix))
  );
}
