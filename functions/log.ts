import type { Logger } from '@aws-lambda-powertools/logger';
import type { Log, LogFields } from '../lib/base/log.ts';

/** One JSON object per line, as CloudWatch Logs Insights reads it; the level is `POWERTOOLS_LOG_LEVEL` [INFO]. */
export function logOf(logger: Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>): Log {
  return {
    debug: (sentence, fields) => logger.debug(sentence, renamed(fields)),
    info: (sentence, fields) => logger.info(sentence, renamed(fields)),
    warn: (sentence, fields) => logger.warn(sentence, renamed(fields)),
    error: (sentence, fields) => logger.error(sentence, renamed(fields)),
  };
}

/** These names are the line's own. */
const reserved = new Set(['message', 'level', 'timestamp', 'service', 'sampling_rate']);

function renamed(fields: LogFields = {}): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name === 'message' ? 'detail' : reserved.has(name) ? `${name}_` : name,
      value,
    ]),
  );
}
