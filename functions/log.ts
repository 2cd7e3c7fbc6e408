import { systemClock } from '../lib/base/clock.ts';
import type { Log } from '../lib/base/log.ts';
import { createJsonLog, logLevelOf } from '../lib/process/json-log.ts';

/** The log of a Lambda function: JSON lines on stdout, from `HOLDFAST_LOG` [info] up. */
export function lambdaLog(): Log {
  const level = logLevelOf(process.env.HOLDFAST_LOG, 'info') ?? 'info';
  return createJsonLog(systemClock, level, (line) => process.stdout.write(line));
}
