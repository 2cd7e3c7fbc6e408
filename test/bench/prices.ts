import { prices } from '../../lib/plans/import-estimate.ts';

/** Of Lambda on arm64, in USD. */
const gbSecond = 13.3334e-6;

/** What one object took. */
export interface Spent {
  /** Requests at the source, at the price of a GET, and at the target, at that of a PUT. */
  readonly reads: number;
  readonly writes: number;
  readonly writeUnits: number;
  readonly ms: number;
}

/** What a million such objects cost on S3, DynamoDB and a Lambda of 1 GB that is as fast as this machine. Traffic aside. */
export function costOfMillion({ reads, writes, writeUnits, ms }: Spent): string {
  const requests = (reads * prices.get + writes * prices.put) * 1e6;
  const metadata = writeUnits * prices.writeUnit * 1e6;
  const compute = (ms / 1000) * gbSecond * 1e6;
  const usd = (amount: number) => `$${amount.toFixed(2)}`;
  const parts = `requests ${usd(requests)}, DynamoDB ${usd(metadata)}, Lambda ${usd(compute)}`;
  return `${usd(requests + metadata + compute)} (${parts})`;
}
